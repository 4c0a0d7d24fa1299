/// The persons of a run, the rules, and what was done: the facts that the oracle judges by.
///
/// Persons come in families, which share a few addresses. In every second family the contacts say and do things in
/// Mailchimp too; the others stay clean, and must be in the list to the letter.
struct SyncScene: Sendable {
    static let personsPerFamily = 4
    static let addressesPerFamily = 6
    static let categories = ["Mailingen / Nieuwsbrief", "Mailingen / Agenda", "Mailingen / Actie"]

    struct Person: Sendable {
        let id: String
        let family: Int
        var givenName: String
        var familyName: String
        /// One of the family's addresses, if any.
        var address: String?
        var categories: Set<Int> = []
        var isArchived = false
        var override = "none"
        /// The address at which a user recorded this person's own no, and when.
        var no: (address: String?, at: Int)?
        /// Whether a user recorded that this person asked to be invited.
        var isInvited = false
    }

    /// A category that a rule asks for, or forbids.
    struct Criterion: Sendable, Hashable {
        var category: Int
        var isNegated: Bool
    }

    let families: Int
    var persons: [Person]
    /// The addresses of each family, to which new ones are added.
    var addresses: [[String]]
    var rules: [[Criterion]] = [[Criterion(category: 0, isNegated: false)]]
    var acts: [String: Int] = [:]

    init(families: Int, _ random: inout SplitMix) {
        self.families = families
        // One family more, which nobody here knows: contacts who are there for other reasons.
        addresses = (0...families + 1).map { family in
            (0..<Self.addressesPerFamily).map { "f\(family)a\($0)@post.koppeling.test" }
        }
        let addresses = addresses
        persons = (0..<families * Self.personsPerFamily).map { number in
            let family = number / Self.personsPerFamily
            return Person(
                id: "\(number)", family: family, givenName: "Jan\(number)", familyName: "Berg \(number)",
                address: addresses[family].randomElement(using: &random))
        }
    }

    static func isNoisy(_ family: Int) -> Bool { family % 2 == 1 }

    /// An address that nobody had before.
    mutating func newAddress(_ family: Int) -> String {
        let address = "f\(family)a\(addresses[family].count)@post.koppeling.test"
        addresses[family].append(address)
        return address
    }

    /// Whether the person is wanted in the list, by the person file and the group's rules alone.
    func isWanted(_ person: Person) -> Bool {
        guard !person.isArchived, person.address != nil else { return false }
        switch person.override {
        case "include": return true
        case "exclude": return false
        default:
            return rules.contains { rule in
                !rule.isEmpty && rule.allSatisfy { person.categories.contains($0.category) != $0.isNegated }
            }
        }
    }

    /// Who is wanted at an address, as they would be named in the list: those added by hand before the others.
    func wanted(at address: String) -> [(first: String, last: String)] {
        let all = persons.filter { $0.address == address && isWanted($0) }
        let manual = all.filter { $0.override == "include" }
        return (manual.isEmpty ? all : manual).map { ($0.givenName, $0.familyName) }
    }
}

/// A small generator whose runs can be repeated from their seed.
struct SplitMix: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &self) < share }
}
