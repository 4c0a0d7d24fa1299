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
    case merge(survivor: Int, other: Int)
    case erase(person: Int)
}

/// The same persons and groups as in the database, kept in memory by the letter of the specification.
struct HistoryModel {
    struct Person {
        var state = "active"
        /// By kind; the groups write to the first one.
        var addresses: [String: Int] = [:]
        var categories: Set<Int> = []
        var mergedInto: Int?

        var address: Int? { addresses["zakelijk"] }
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
    /// In which order what stands at addresses was said: who is bound by more than one goes by the first.
    var said: [Entry: Int] = [:]
    var sayings = 0
    /// The addresses at which a no was said that binds a person, or did.
    var saidAt: [Set<Int>]
    /// Addresses of which only a hash is left.
    var erased: Set<Int> = []
    /// What is said to every group stands there as well.
    private static let everyGroup = -1

    init(persons: Int, groups: Int) {
        self.groups = groups
        self.persons = Array(repeating: Person(), count: persons)
        rules = Array(repeating: [], count: groups)
        saidAt = Array(repeating: [], count: persons)
        overrides = Array(repeating: Array(repeating: "none", count: persons), count: groups)
        everMember = Array(repeating: Array(repeating: false, count: persons), count: groups)
    }

    /// The person as whom this one lives on.
    func survivor(_ person: Int) -> Int { persons[person].mergedInto ?? person }

    /// Whether anybody whom it names is erased, or two whom it merges are one: it is left out of the history.
    func isIdle(_ event: Event) -> Bool {
        switch event {
        case .put(let person, _, _), .override(_, let person, _), .archive(let person), .reactivate(let person),
            .unsubscribe(let person), .erase(let person):
            persons[survivor(person)].state == "erased"
        case .found(_, _, _, let claimants), .lift(_, _, _, let claimants):
            claimants.contains { persons[survivor($0)].state == "erased" }
        case .merge(let one, let other):
            survivor(one) == survivor(other)
                || [one, other].contains { persons[survivor($0)].state == "erased" }
        case .rules: false
        }
    }

    mutating func apply(_ event: Event) {
        let before = persons.map(\.addresses)
        switch event {
        case .put(let named, let address, let categories):
            let person = survivor(named)
            persons[person].addresses["zakelijk"] = address
            persons[person].categories = categories
        case .rules(let group, let new): rules[group] = new
        case .override(let group, let person, let override): overrides[group][survivor(person)] = override
        case .archive(let named):
            let person = survivor(named)
            guard persons[person].state == "active" else { break }
            persons[person].state = "archived"
            for group in 0..<groups where overrides[group][person] == "include" { overrides[group][person] = "none" }
        case .reactivate(let person): persons[survivor(person)].state = "active"
        case .unsubscribe(let named):
            let person = survivor(named)
            let addresses: [Int?] = persons[person].addresses.sorted { $0.key < $1.key }.map(\.value)
            for address in addresses.isEmpty ? [nil] : addresses {
                record("unsubscribed", group: Self.everyGroup, address: address, claimants: [person])
            }
            for group in 0..<groups {
                record("unsubscribed", group: group, address: persons[person].address, claimants: [person])
            }
        case .found(let group, let reason, let address, let claimants):
            record(reason, group: group, address: address, claimants: Set(claimants.map(survivor)))
        case .lift(let group, let reasons, let address, let lifted):
            lift(group, reasons, address, Set(lifted.map(survivor)))
        case .merge(let survivor, let other): merge(self.survivor(survivor), self.survivor(other))
        case .erase(let person): erase(survivor(person))
        }
        // Who is given the address of somebody erased does not get what was sent there.
        for person in persons.indices where persons[person].addresses != before[person] {
            for address in persons[person].addresses.values where erased.contains(address) {
                for group in 0..<groups { record("forgotten", group: group, address: address, claimants: [person]) }
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
                override: overrides[group][person], person: persons[person].state,
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
        return Set(persons.indices.filter { persons[$0].addresses.values.contains(address) })
    }

    private mutating func lift(_ group: Int, _ reasons: Set<String>, _ address: Int, _ lifted: Set<Int>) {
        open = open.filter { entry in
            guard entry.group == group, reasons.contains(entry.reason) else { return true }
            switch entry.place {
            case .address(let here): return here != address
            case .person(let person): return !lifted.contains(person)
            case .claim(let person, _, let event): return event != address && !lifted.contains(person)
            }
        }
    }

    /// The survivor gets what the other has and she has not; of what binds either the stricter holds.
    private mutating func merge(_ survivor: Int, _ other: Int) {
        for (kind, address) in persons[other].addresses.sorted(by: { $0.key < $1.key }) {
            var free = kind
            var number = 1
            while persons[survivor].addresses[free] != nil {
                number += 1
                free = "\(kind) \(number)"
            }
            if number == 1 || !persons[survivor].addresses.values.contains(address) {
                persons[survivor].addresses[free] = address
                bindHolders()
            }
        }
        persons[survivor].categories.formUnion(persons[other].categories)
        for entry in open {
            switch entry.place {
            case .person(other):
                open.insert(Entry(group: entry.group, reason: entry.reason, place: .person(survivor)))
            case .claim(other, let file, let event):
                bounce(entry.group, .claim(person: survivor, file: file, event: event))
            default: break
            }
        }
        for group in 0..<groups {
            let both = [overrides[group][survivor], overrides[group][other]]
            if both.contains("exclude") {
                overrides[group][survivor] = "exclude"
            } else if overrides[group][other] == "include", persons[survivor].state == "active" {
                overrides[group][survivor] = "include"
            }
            overrides[group][other] = "none"
            everMember[group][survivor] = everMember[group][survivor] || everMember[group][other]
        }
        persons[other] = Person(state: "archived", mergedInto: survivor)
        for person in persons.indices where persons[person].mergedInto == other {
            persons[person].mergedInto = survivor
        }
    }

    /// All that is known of her goes, but what binds others too.
    private mutating func erase(_ person: Int) {
        let own = saidAt[person].union(persons[person].addresses.values).filter {
            holders($0).subtracting([person]).isEmpty
        }
        erased.formUnion(own)
        for other in persons.indices { saidAt[other].subtract(own) }
        saidAt[person] = []
        persons[person].state = "erased"
        persons[person].addresses = [:]
        persons[person].categories = []
        open = Set(
            open.compactMap { entry in
                switch entry.place {
                case .address(let address): return own.contains(address) ? nil : entry
                case .person(let bound): return bound == person ? nil : entry
                case .claim(person, _, _): return nil
                case .claim(let bound, let file, let event):
                    guard own.contains(event) else { return entry }
                    // Nothing is left from which it follows: only another address of hers ends it.
                    return Entry(
                        group: entry.group, reason: entry.reason, place: .claim(person: bound, file: file, event: -1))
                }
            })
        for other in persons.indices where persons[other].mergedInto == person && persons[other].state != "erased" {
            erase(other)
        }
    }

    /// One bounce is enough for a person's address; says whether this is the one.
    @discardableResult
    private mutating func bounce(_ group: Int, _ place: Place) -> Bool {
        guard case .claim(let person, let file, _) = place else { return false }
        let isKnown = open.contains { entry in
            if case .claim(person, file, _) = entry.place { entry.group == group } else { false }
        }
        if !isKnown { open.insert(Entry(group: group, reason: "cleaned", place: place)) }
        return !isKnown
    }

    /// A no said at an address binds a person whom the same binds not yet.
    private mutating func bind(_ person: Int, to reason: String, group: Int, saidAt address: Int?) {
        let entry = Entry(group: group, reason: reason, place: .person(person))
        if open.insert(entry).inserted, let address { saidAt[person].insert(address) }
    }

    private mutating func record(_ reason: String, group: Int, address: Int?, claimants: Set<Int>) {
        if let address {
            let entry = Entry(group: group, reason: reason, place: .address(address))
            if open.insert(entry).inserted {
                sayings += 1
                said[entry] = sayings
            }
        }
        if reason == "cleaned" {
            for person in claimants.subtracting(holders(address)) {
                if let file = persons[person].address, let address {
                    if bounce(group, .claim(person: person, file: file, event: address)) {
                        saidAt[person].insert(address)
                    }
                }
            }
        } else {
            for person in holders(address).union(claimants) {
                bind(person, to: reason, group: group, saidAt: address)
            }
        }
    }

    /// A no belongs to whoever holds the address while it is open, and stays with her.
    private mutating func bindHolders() {
        for entry in open.sorted(by: { said[$0, default: 0] < said[$1, default: 0] })
        where Self.noes.contains(entry.reason) {
            guard case .address(let address) = entry.place else { continue }
            for person in holders(address) { bind(person, to: entry.reason, group: entry.group, saidAt: address) }
        }
    }
}
