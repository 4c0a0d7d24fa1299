/// A question on a list's form, with its interests as the answers.
struct InterestCategory: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case checkboxes, dropdown, radio, hidden
    }

    let id: String
    var title: String
    var kind: Kind
    var displayOrder: Int
}

/// What a member can be interested in; the pages call it a group.
struct Interest: Sendable {
    let id: String
    let category: String
    var name: String
    var displayOrder: Int
}

/// A use of his address that a member can agree to, on a list that asks.
struct MarketingPermission: Sendable {
    let id: String
    let text: String
}

/// What a member has said yes to, beside his status.
struct Agreements: Sendable, Equatable {
    var interests: Set<String> = []
    var permissions: Set<String> = []
}

/// The choices of a list's members.
struct Choices: Sendable {
    var categories: [InterestCategory] = []
    var interests: [Interest] = []
    /// None on a list that does not ask.
    var permissions: [MarketingPermission] = []

    static let permissionTexts = ["Email", "Direct Mail", "Customized Online Advertising"]

    func interests(of category: String) -> [Interest] {
        interests.filter { $0.category == category }.sorted { $0.displayOrder < $1.displayOrder }
    }
}

extension Audience {
    /// Takes interests off the list and off its members, whose `last_changed` stays.
    func removeInterests(where isGone: (Interest) -> Bool) {
        let gone = Set(choices.interests.filter(isGone).map(\.id))
        guard !gone.isEmpty else { return }
        choices.interests.removeAll { gone.contains($0.id) }
        for slot in statuses.indices {
            guard var member = member(at: slot), !member.agreements.interests.isDisjoint(with: gone) else { continue }
            member.agreements.interests.subtract(gone)
            replace(slot, with: member)
        }
    }
}
