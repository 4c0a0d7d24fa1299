import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Rules over everything a person has")
struct RuleOracleTests {
    @Test("match whom a second, naive implementation matches: all at once, and person by person", .database)
    func oracle() async throws {
        let world = World()
        var seed = Seed()
        let persons = 1...60
        var oracle = RuleOracle(persons: persons.count, seed: &seed)
        try await RuleOracle.makeValues(in: world.pool)
        try await oracle.store(persons, in: world.pool)
        var groups: [(id: Int64, rules: [[RuleOracle.Term]])] = []
        for number in 0..<60 {
            let rules = RuleOracle.rules(&seed)
            let group = try await world.groups.create("Groep \(number)")
            _ = try await world.rules.save(
                RuleOracle.criteria(rules), group: group.id, over: 1, confirmOnlyNegated: true, actor: "test")
            groups.append((group.id, rules))
        }
        try await expect(oracle, groups, persons, "after saving")
        let matching = groups.reduce(0) { sum, group in sum + persons.count { oracle.matches($0, group.rules) } }
        #expect(matching > 300, "too few cases match to mean anything")

        // Other facts, which only the evaluation of those persons sees.
        let changed = persons.filter { _ in Int.random(in: 0..<3, using: &seed) == 0 }
        for person in changed { oracle.change(person, seed: &seed) }
        try await oracle.store(changed, in: world.pool)
        try await world.pool.query("select koppeling.request_evaluation(\(changed.map(Int64.init)), 'test')")
        try await world.evaluate()
        try await expect(oracle, groups, persons, "after an evaluation")
    }

    @Test("ask for one position that has it all, and follow a company that was merged", .database)
    func samePosition() async throws {
        let world = World()
        try await RuleOracle.makeValues(in: world.pool)
        try await world.put("1")
        try await world.put("2")
        try await world.pool.script(
            """
            insert into koppeling.position (person_id, job_function_id, company_id)
                values (1, 1, 1), (1, 2, 2), (2, 1, 2);
            """)
        let rule = [Criterion("1", kind: .function), Criterion("crm/2", kind: .company)]
        let group = try await world.group("Groep", rules: [rule])
        #expect(try await world.membership(1, group) == nil)
        #expect(try await world.membership(2, group) == .byRule)
        try await world.pool.script(
            """
            update koppeling.company set merged_into = 3 where id = 2;
            update koppeling.position set company_id = 3 where company_id = 2;
            select koppeling.request_evaluation(array[2], 'test');
            """)
        try await world.evaluate()
        #expect(try await world.membership(2, group) == .byRule)
        #expect(
            try await world.rules.list(group: group).rules.joined().contains(Criterion("3 [crm/3]", kind: .company)))
    }

    @Test("are previewed exactly as they would turn out, and nothing is written", .database)
    func preview() async throws {
        let world = World()
        for id in 1...4 {
            try await world.put(
                "\(id)", email: "p\(id)@example.nl", categories: id < 3 ? ["Soort / A"] : ["Soort / B"],
                name: "Berg \(id)")
        }
        let group = try await world.group("Groep", rules: [[Criterion("Soort / A")]])
        try await world.found("unsubscribed", at: "p4@example.nl", group: group)
        let rules = [[Criterion("Soort / B")], [Criterion("Soort / B"), Criterion("Soort / A", negated: true)]]
        for exact in [true, false] {
            let seen = try await world.rules.preview(rules, group: group, exact: exact)
            #expect(seen.rules.map(\.matches) == [2, 2])
            #expect(seen.rules.map(\.total) == [2, 2])
            #expect([seen.joins, seen.leaves, seen.unsubscribed] == [1, 2, 1])
            #expect(seen.sample.map(\.name) == ["Berg 3", "Berg 1", "Berg 2"])
            #expect(!seen.estimated)
        }
        // Of four persons all are drawn, nearly always; who is not is made up for.
        let estimated = try await world.pool.query(
            "select koppeling.estimate_rules(\(group)::bigint, \(try JSONText(encoding: rules))::jsonb)")
        #expect(try estimated.scalar(as: JSONText.self).decode(RulePreview.self).estimated)
        #expect(try await world.groups.find("Groep")?.active == 2)
        let saved = try await world.rules.save(rules, group: group, over: 2, actor: "test")
        #expect(saved.changed == 4, "two left, one joined, and one is kept out")
    }

    private func expect(
        _ oracle: RuleOracle, _ groups: [(id: Int64, rules: [[RuleOracle.Term]])], _ persons: ClosedRange<Int>,
        _ moment: String
    ) async throws {
        let rows = try await world.query(
            """
            select target_group_id, array_agg(person_id) as persons from koppeling.membership
            where rule_match group by target_group_id
            """
        )
        var found: [Int64: Set<Int64>] = [:]
        for row in rows { found[try row.decode("target_group_id")] = Set(try row.decode("persons", as: [Int64].self)) }
        for (group, rules) in groups {
            let expected = Set(persons.filter { oracle.matches($0, rules) }.map(Int64.init))
            #expect(found[group, default: []] == expected, "\(moment): \(rules)")
        }
    }

    private var world: Pool { TestDatabase.current.pool }
}
