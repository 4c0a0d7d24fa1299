/// A contact's status as the API writes it.
enum MemberStatus: String, Sendable, CaseIterable {
    case subscribed, unsubscribed, cleaned, pending, transactional, archived

    /// Those that a caller can ask for.
    static let settable: [MemberStatus] = [.subscribed, .unsubscribed, .cleaned, .pending, .transactional]

    /// The status in the messages that quote it.
    var title: String { rawValue.prefix(1).uppercased() + rawValue.dropFirst() }
}

/// Who did something: the contact himself, somebody in Mailchimp's own pages, or a call of the API.
enum Party: String, Sendable {
    case contact, admin, api

    /// The name of this party among a webhook's sources.
    var source: String { self == .contact ? "user" : rawValue }
}

/// A no that came from the contact, which nobody but he can take back.
struct OwnNo: Sendable, Equatable {
    enum Kind: String, Sendable {
        case unsubscribed, complained
    }

    var kind: Kind
    var at: Int
}

/// What a contact has agreed to, who decided it, and what lies beneath when he is archived.
struct Consent: Sendable, Equatable {
    var status: MemberStatus
    /// Who ended the subscription, while it is ended.
    var unsubscribedBy: Party?
    var unsubscribeReason = ""
    var ownNo: OwnNo?
    /// The status that archiving covered.
    var beneath: MemberStatus?

    init(_ status: MemberStatus, by party: Party) {
        self.status = status
        if status == .unsubscribed { unsubscribe(by: party, reason: nil) }
    }

    /// Sets a status that the status machine has let through.
    mutating func set(_ wanted: MemberStatus, by party: Party, reason: String? = nil) {
        switch wanted {
        case .archived:
            if status != .archived { beneath = status }
        case .unsubscribed:
            unsubscribe(by: party, reason: reason)
            beneath = nil
        case .subscribed, .pending, .cleaned, .transactional:
            unsubscribedBy = nil
            unsubscribeReason = ""
            beneath = nil
        }
        status = wanted
        if wanted == .subscribed, party == .contact { ownNo = nil }
    }

    private mutating func unsubscribe(by party: Party, reason: String?) {
        // An earlier own no stays the contact's: passing through another status does not make it an admin's.
        unsubscribedBy = ownNo == nil ? party : .contact
        unsubscribeReason = reason ?? (party == .contact ? "None given" : "N/A (Unsubscribed by admin)")
    }
}
