import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Random histories of facts")
struct HistoryTests {
    private static let persons = 6
    private static let groups = 2
    private static let categories = 3
    private static let addresses = 4
    private static let length = 60

    @Test(
        "leave every membership as the specification derives it, after every step and with replays", .database,
        arguments: 0..<6)
    func history(run: Int) async throws {
        var seed = Seed("history \(run)")
        let world = World()
        var model = HistoryModel(persons: Self.persons, groups: Self.groups)
        let numbers = try await begin(world)
        var past: [Event] = []
        for step in 0..<Self.length {
            let event = seed.chance(10) ? past.randomElement(using: &seed) ?? seed.event() : seed.event()
            if model.isIdle(event) { continue }
            past.append(event)
            // A put names the record that was merged, too; what goes by a number names the one that is left.
            let living = Numbers(
                persons: numbers.persons.indices.map { numbers.persons[model.survivor($0)] }, groups: numbers.groups)
            try await perform(event, in: world, living)
            try await holdAgainstErasures(world)
            try await world.evaluate()
            model.apply(event)
            for group in 0..<Self.groups {
                for person in 0..<Self.persons {
                    let actual = try await world.membership(numbers.persons[person], numbers.groups[group])
                    try #require(
                        actual == model.verdict(person, group),
                        "step \(step) of seed \(seed.seed): person \(person) in group \(group) after \(past.suffix(12))"
                    )
                }
            }
            let broken = try await brokenClaims(world)
            try #require(broken == [], "step \(step) of seed \(seed.seed), after \(past.suffix(12))")
        }
        try await everyChangeWasAudited(world)
        try await nothingDiffersFromAFullEvaluation(world, numbers)
    }

    private struct Numbers {
        var persons: [Int64]
        var groups: [Int64]
    }

    private func begin(_ world: World) async throws -> Numbers {
        var numbers = Numbers(persons: [], groups: [])
        for group in 0..<Self.groups { numbers.groups.append(try await world.group("Groep \(group)", rules: [])) }
        for person in 0..<Self.persons { numbers.persons.append(try await world.put("\(person)")) }
        try await world.pool.query(
            "select koppeling.make_categories(\((0..<Self.categories).map { "Soort / \($0)" })::text[])")
        try await world.evaluate()
        // Each group with a list, so that claims follow; no brake holds them.
        try await world.pool.query(
            """
            with account as (
                insert into koppeling.mailchimp_account (name, credential, data_centre, account_id, login_id)
                values ('Instituut', '\\x00', 'us1', 'a', 'l')
                returning id
            )
            insert into koppeling.connector_instance (account_id, name, list_id, list_name, target_group_id,
                webhook_secret_hash, webhook_secret, activated, joins_cap, joins_count, removals_cap, removals_count)
            select a.id, g.name, 'list' || g.id, g.name, g.id, sha256('s'), 's', true, 1000, 1000, 1000, 1000
            from account a, koppeling.target_group g
            """)
        return numbers
    }

    private static let erasureKey = [UInt8](repeating: 7, count: 32)

    /// As a worker does with whoever was given an address.
    private func holdAgainstErasures(_ world: World) async throws {
        while try await world.pool.query("select koppeling.check_erasures(\(Self.erasureKey)::bytea, 100)")
            .scalar(as: Int64.self) > 0
        {}
    }

    /// Whoever is active and has an address has a claim at that address, and nobody else has one.
    private func brokenClaims(_ world: World) async throws -> [String] {
        try await world.pool.query(
            """
            select format('person %s in group %s: %s, claim at %s, address %s', person_id, target_group_id, m.status,
                          c.address_key, e.address_key) as line
            from koppeling.membership m
            left join (select * from koppeling.email_address where kind = 'zakelijk') e using (person_id)
            full join (select c.*, i.target_group_id from koppeling.claim c
                       join koppeling.connector_instance i on i.id = c.instance_id) c using (target_group_id, person_id)
            where c.address_key is distinct from case when m.status = 'active' then e.address_key end
            union all
            select format('the claim of person %s stands at %s', c.person_id, m.address_key)
            from koppeling.claim c join koppeling.audience_member m on m.id = c.member_id
            where c.address_key <> m.address_key
            """
        ).map { row in try row.decode("line") }
    }

    @Test("end the same in whatever order different persons' events come", .database)
    func orders() async throws {
        var seed = Seed("orders")
        let world = World()
        let numbers = try await begin(world)
        try await perform(.rules(group: 0, [[1], [2, -3]]), in: world, numbers)
        try await perform(.rules(group: 1, [[-2, 3]]), in: world, numbers)
        // Every person has an address alone, so that nothing of one concerns another.
        let histories = (0..<Self.addresses).map { person in
            (0..<12).map { _ in seed.event(of: person) }
        }
        var ends: [[Verdict?]] = []
        for round in 0..<4 {
            let sources = (0..<Self.addresses).map { "\(round)-\($0)" }
            var own = numbers
            own.persons = []
            for source in sources { own.persons.append(try await world.put(source)) }
            var places = histories.map { _ in 0 }
            while let person = places.indices.filter({ places[$0] < histories[$0].count }).randomElement(using: &seed) {
                try await perform(
                    histories[person][places[person]], in: world, own, id: { sources[$0] },
                    address: { "a\($0)-\(round)@example.nl" })
                try await world.evaluate()
                places[person] += 1
            }
            try await world.evaluate()
            var end: [Verdict?] = []
            for person in own.persons {
                for group in numbers.groups { end.append(try await world.membership(person, group)) }
            }
            ends.append(end)
        }
        #expect(Set(ends).count == 1, "seed \(seed.seed): \(ends)")
    }

    private func perform(
        _ event: Event, in world: World, _ numbers: Numbers, id: (Int) -> String = { "\($0)" },
        address addressOf: (Int) -> String = { "a\($0)@example.nl" }
    ) async throws {
        switch event {
        case .put(let person, let address, let categories):
            try await world.put(
                id(person), email: .some(address.map(addressOf)),
                categories: categories.sorted().map { "Soort / \($0)" })
        case .rules(let group, let rules):
            let criteria = rules.map { rule in rule.map { Criterion("Soort / \(abs($0) - 1)", negated: $0 < 0) } }
            let id = numbers.groups[group]
            let version = try await world.rules.list(group: id).version
            let preview = try await world.rules.preview(criteria, group: id, exact: true)
            let before = try await settledMembers(of: id, in: world)
            _ = try await world.rules.save(criteria, group: id, over: version, confirmOnlyNegated: true, actor: "test")
            if let before, let after = try await settledMembers(of: id, in: world) {
                #expect(preview.joins == after.subtracting(before).count, "\(rules)")
                #expect(preview.leaves == before.subtracting(after).count, "\(rules)")
            }
        case .override(let group, let person, let override):
            try await world.memberships.setOverride(
                try #require(Override(rawValue: override)), person: numbers.persons[person],
                group: numbers.groups[group],
                actor: "test")
        case .archive(let person): try await world.persons.archive(source: "crm", id: id(person), actor: "test")
        case .reactivate(let person): try await world.persons.reactivate(source: "crm", id: id(person), actor: "test")
        case .unsubscribe(let person):
            try await world.persons.unsubscribe(source: "crm", id: id(person), actor: "test")
        case .found(let group, let reason, let address, let claimants):
            try await world.found(
                reason, at: addressOf(address), claimants: claimants.map { numbers.persons[$0] },
                group: numbers.groups[group])
        case .lift(let group, let reasons, let address, let persons):
            try await world.lift(
                reasons.sorted(), at: addressOf(address), persons: persons.map { numbers.persons[$0] },
                group: numbers.groups[group])
        case .merge(let survivor, let other):
            try await world.pool.query(
                "select koppeling.merge_persons('crm', \(id(survivor)), 'crm', \(id(other)), 'test')")
        case .erase(let person):
            try await world.pool.query(
                "select koppeling.erase_person_now(\(numbers.persons[person]), \(Self.erasureKey)::bytea, 'test')")
        }
    }

    /// Who is in a group; nil while somebody's facts are still to be evaluated.
    private func settledMembers(of group: Int64, in world: World) async throws -> Set<Int64>? {
        let row = try await world.pool.query(
            """
            select exists (select from koppeling.evaluation_request) or exists (select from koppeling.holder_check)
                as waits,
                array(select m.person_id from koppeling.membership m
                      where m.target_group_id = \(group)::bigint and m.status = 'active') as members
            """)[0]
        return try row.decode("waits") ? nil : Set(row.decode("members", as: [Int64].self))
    }

    /// Each membership's audit entries lead, one from the other, to what it is now.
    private func everyChangeWasAudited(_ world: World) async throws {
        let broken = try await world.pool.query(
            """
            with chain as (
                select a.target_group_id, a.person_id, a.old, a.new, a.id,
                    lag(a.new) over (partition by a.target_group_id, a.person_id order by a.id) as before,
                    row_number() over (partition by a.target_group_id, a.person_id order by a.id desc) as age
                from koppeling.audit_entry a
                join koppeling.person p on p.id = a.person_id and p.state <> 'erased'
                where a.kind = 'status'
            )
            select
                (select count(*) from chain where before is distinct from old or old is not distinct from new)
                + (select count(*) from chain c
                    left join koppeling.membership m using (target_group_id, person_id)
                    where c.age = 1 and c.new is distinct from case when m.status is not null then
                        jsonb_build_object('status', m.status, 'via', m.via, 'reasons', m.reasons) end)
            """)
        #expect(try broken.scalar(as: Int64.self) == 0)
    }

    private func nothingDiffersFromAFullEvaluation(_ world: World, _ numbers: Numbers) async throws {
        for group in numbers.groups {
            let changed = try await world.pool.query(
                "select koppeling.refresh_memberships(\(group)::bigint, null, 'nightly', 'test')")
            #expect(try changed.scalar(as: Int64.self) == 0)
        }
    }
}

extension Seed {
    fileprivate mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    private mutating func some(of count: Int, _ percent: Int) -> Set<Int> {
        var picked: Set<Int> = []
        for number in 0..<count where chance(percent) { picked.insert(number) }
        return picked
    }

    private mutating func number(below bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

    /// An event of any kind, the frequent ones more often.
    fileprivate mutating func event() -> Event {
        let person = number(below: 6)
        let group = number(below: 2)
        let address = number(below: 4)
        switch number(below: 104) {
        case 100..<103: return .merge(survivor: person, other: number(below: 6))
        case 103: return .erase(person: person)
        case 0..<35: return .put(person: person, address: chance(80) ? address : nil, categories: some(of: 3, 45))
        case 35..<45: return .rules(group: group, (0..<number(below: 3)).map { _ in rule() })
        case 45..<60:
            return .override(
                group: group, person: person, ["none", "include", "exclude"].randomElement(using: &self) ?? "none")
        case 60..<66: return .archive(person: person)
        case 66..<74: return .reactivate(person: person)
        case 74..<78: return .unsubscribe(person: person)
        case 78..<88:
            let reasons = ["complained", "unsubscribed", "cleaned", "forgotten", "removedInMailchimp"]
            return .found(
                group: group, reason: reasons.randomElement(using: &self) ?? "cleaned", address: address,
                claimants: some(of: 6, 25))
        default:
            let liftable = ["unsubscribed", "cleaned", "forgotten", "removedInMailchimp"]
            return .lift(
                group: group, reasons: Set(some(of: 4, 60).map { liftable[$0] }), address: address,
                persons: some(of: 6, 50))
        }
    }

    /// An event that concerns this person alone, who alone has the address of the same number.
    fileprivate mutating func event(of person: Int) -> Event {
        switch number(below: 100) {
        case 0..<40: .put(person: person, address: chance(80) ? person : nil, categories: some(of: 3, 45))
        case 40..<60:
            .override(
                group: number(below: 2), person: person,
                ["none", "include", "exclude"].randomElement(using: &self) ?? "none")
        case 60..<70: .archive(person: person)
        case 70..<84: .reactivate(person: person)
        case 84..<88: .unsubscribe(person: person)
        case 88..<94:
            .found(
                group: number(below: 2), reason: ["cleaned", "unsubscribed"].randomElement(using: &self) ?? "cleaned",
                address: person, claimants: [person])
        default:
            .lift(group: number(below: 2), reasons: ["cleaned", "unsubscribed"], address: person, persons: [person])
        }
    }

    private mutating func rule() -> [Int] {
        (0..<3).compactMap { category in
            switch number(below: 4) {
            case 0: category + 1
            case 1: -(category + 1)
            default: nil
            }
        }
    }
}
