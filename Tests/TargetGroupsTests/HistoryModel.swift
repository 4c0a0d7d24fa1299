/// What happens to persons and groups in a random history.
enum Event: Hashable {
    case put(person: Int, address: Int?, categories: Set<Int>)
    case rules(group: Int, [[Int]])
    case override(group: Int, person: Int, String)
    case archive(person: Int)
    case reactivate(person: Int)
    case unsubscribe(person: Int)
    case found(group: Int, reason: String, address: Int, claimants: Set<Int>)
    case lift(group: Int, reasons: Set<String>, address: Int, persons: Set<Int>)
}

/// The same persons and groups as in the database, kept in memory by the letter of the specification.
struct HistoryModel {
    struct Person {
        var isArchived = false
        var address: Int?
        var categories: Set<Int> = []
    }

    /// Where an open entry of the ledger stands.
    enum Place: Hashable {
        case address(Int)
        case person(Int)
        /// A bounce of a person's contact that lives at `event`, which counts while her own address is `file`.
        case claim(person: Int, file: Int, event: Int)
    }

    struct Entry: Hashable {
        var group: Int
        var reason: String
        var place: Place
    }

    static let noes: Set<String> = ["complained", "unsubscribed", "forgotten"]

    let groups: Int
    var persons: [Person]
    /// A positive number asks for that category less one, a negative one excludes it.
    var rules: [[[Int]]]
    var overrides: [[String]]
    var everMember: [[Bool]]
    var open: Set<Entry> = []

    init(persons: Int, groups: Int) {
        self.groups = groups
        self.persons = Array(repeating: Person(), count: persons)
        rules = Array(repeating: [], count: groups)
        overrides = Array(repeating: Array(repeating: "none", count: persons), count: groups)
        everMember = Array(repeating: Array(repeating: false, count: persons), count: groups)
    }

    mutating func apply(_ event: Event) {
        switch event {
        case .put(let person, let address, let categories):
            persons[person].address = address
            persons[person].categories = categories
        case .rules(let group, let new): rules[group] = new
        case .override(let group, let person, let override): overrides[group][person] = override
        case .archive(let person):
            guard !persons[person].isArchived else { break }
            persons[person].isArchived = true
            for group in 0..<groups where overrides[group][person] == "include" { overrides[group][person] = "none" }
        case .reactivate(let person): persons[person].isArchived = false
        case .unsubscribe(let person):
            for group in 0..<groups {
                record("unsubscribed", group: group, address: persons[person].address, claimants: [person])
            }
        case .found(let group, let reason, let address, let claimants):
            record(reason, group: group, address: address, claimants: claimants)
        case .lift(let group, let reasons, let address, let lifted):
            open = open.filter { entry in
                guard entry.group == group, reasons.contains(entry.reason) else { return true }
                switch entry.place {
                case .address(let here): return here != address
                case .person(let person): return !lifted.contains(person)
                case .claim(let person, _, let event): return event != address && !lifted.contains(person)
                }
            }
        }
        bindHolders()
        for group in 0..<groups {
            for person in persons.indices where verdict(person, group)?.status == "active" {
                everMember[group][person] = true
            }
        }
    }

    func verdict(_ person: Int, _ group: Int) -> Verdict? {
        TargetGroupsTests.verdict(
            on: Facts(
                ruleMatch: rules[group].contains { rule in matches(rule, persons[person].categories) },
                override: overrides[group][person], person: persons[person].isArchived ? "archived" : "active",
                open: reasons(person, group), everMember: everMember[group][person]))
    }

    private func matches(_ rule: [Int], _ categories: Set<Int>) -> Bool {
        !rule.isEmpty && rule.allSatisfy { $0 > 0 ? categories.contains($0 - 1) : !categories.contains(-$0 - 1) }
    }

    private func reasons(_ person: Int, _ group: Int) -> Set<String> {
        Set(
            open.filter { entry in
                guard entry.group == group else { return false }
                switch entry.place {
                case .address(let address):
                    return persons[person].address == address && entry.reason != "removedInMailchimp"
                case .person(let bound): return bound == person
                case .claim(let bound, let file, _): return bound == person && persons[person].address == file
                }
            }.map(\.reason))
    }

    private func holders(_ address: Int?) -> Set<Int> {
        guard let address else { return [] }
        return Set(persons.indices.filter { persons[$0].address == address })
    }

    private mutating func record(_ reason: String, group: Int, address: Int?, claimants: Set<Int>) {
        if let address { open.insert(Entry(group: group, reason: reason, place: .address(address))) }
        for person in holders(address).union(claimants) {
            if reason != "cleaned" {
                open.insert(Entry(group: group, reason: reason, place: .person(person)))
            } else if let file = persons[person].address, let address, file != address {
                let known = open.contains { entry in
                    if case .claim(person, file, _) = entry.place { entry.group == group } else { false }
                }
                if !known {
                    open.insert(
                        Entry(group: group, reason: reason, place: .claim(person: person, file: file, event: address)))
                }
            }
        }
    }

    /// A no belongs to whoever holds the address while it is open, and stays with her.
    private mutating func bindHolders() {
        for entry in open where Self.noes.contains(entry.reason) {
            guard case .address(let address) = entry.place else { continue }
            for person in holders(address) {
                open.insert(Entry(group: entry.group, reason: entry.reason, place: .person(person)))
            }
        }
    }
}
