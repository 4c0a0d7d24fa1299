import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("The check of a group", .database)
struct GroupCheckTests {
    @Test("mends and counts what nobody noticed, and leaves alone what waits for an evaluation")
    func unnoticed() async throws {
        let world = World()
        let group = try await world.group("Groep")
        let (lost, waiting) = (try await world.put("1"), try await world.put("2"))
        try await world.evaluate()
        try await world.pool.script(
            """
            insert into koppeling.person_category select p.id, c.id from koppeling.person p, koppeling.category c;
            select koppeling.request_evaluation(array[\(waiting)], 'test');
            """)
        let check: Query = "select koppeling.check_group(\(group)::bigint)"
        #expect(try await world.pool.query(check).scalar(as: Int64.self) == 1)
        #expect(try await world.membership(lost, group) == .byRule)
        #expect(try await world.membership(waiting, group) == nil)
        try await world.evaluate()
        #expect(try await world.pool.query(check).scalar(as: Int64.self) == 0)
        let rows = try await world.pool.query("select defects, all_defects from koppeling.group_check")
        #expect(try rows[0].decode("defects", as: Int64.self) == 0)
        #expect(try rows[0].decode("all_defects", as: Int64.self) == 1)
    }

    @Test("finds whatever is wrong in a membership, in groups of no rule, of one and of several")
    func anything() async throws {
        let world = World()
        var seed = Seed()
        let persons = 1...40
        let oracle = RuleOracle(persons: persons.count, seed: &seed)
        try await RuleOracle.makeValues(in: world.pool)
        try await oracle.store(persons, in: world.pool)
        var groups: [Int64] = []
        for number in 0..<8 {
            let group = try await world.groups.create("Groep \(number)")
            _ = try await world.rules.save(
                RuleOracle.criteria(RuleOracle.rules(&seed)), group: group.id, over: 1, confirmOnlyNegated: true,
                actor: "test")
            groups.append(group.id)
        }
        for person in persons where Int.random(in: 0..<3, using: &seed) == 0 {
            let group = try #require(groups.randomElement(using: &seed))
            switch Int.random(in: 0..<3, using: &seed) {
            case 0: try await world.persons.archive(source: "crm", id: "\(person)", actor: "test")
            case 1: try await world.found("unsubscribed", at: nil, claimants: [Int64(person)], group: group)
            default:
                let override = try #require(["include", "exclude", "none"].randomElement(using: &seed))
                try await world.pool.query(
                    """
                    select koppeling.set_override(\(group)::bigint, \(Int64(person))::bigint, \(override)::text, 'test')
                    """)
            }
        }
        try await world.evaluate()
        let checks = GroupChecks(pool: world.pool)
        #expect(try await checks.run() == .init(groups: 8, defects: 0))
        let right = try await everything(world)
        let wrongs = [
            "delete from koppeling.membership m where via = 'rule' and override = 'none'",
            "update koppeling.membership m set rule_match = not rule_match where true",
            "update koppeling.membership m set matched_rule_id = coalesce(matched_rule_id, 0) + 1 where rule_match",
            "update koppeling.membership m set via = 'manual' where via = 'rule'",
            """
            update koppeling.membership m set status = 'inactive', via = null, reasons = '{archived}'
            where status = 'active'
            """,
            """
            update koppeling.membership m set status = 'active', via = 'rule', reasons = '{}', ever_member = true
            where status = 'inactive' and ever_member
            """,
        ]
        var found: Int64 = 0
        for _ in 0..<60 {
            let wrong = try #require(wrongs.randomElement(using: &seed))
            let done = try await world.pool.query(
                """
                \(unsafe: wrong) and (m.target_group_id, m.person_id) = (
                    select target_group_id, person_id from koppeling.membership
                    order by hashint8extended(person_id, \(Int64.random(in: 0...(.max), using: &seed))::bigint) limit 1)
                returning 1
                """)
            let defects = try await checks.run().defects
            #expect(defects == Int64(done.count), "\(wrong)")
            #expect(try await everything(world) == right, "\(wrong)")
            found += defects
        }
        #expect(found > 5, "too little was wrong to mean anything")
    }

    /// All that is derived, as text.
    private func everything(_ world: World) async throws -> String {
        try await world.pool.query(
            """
            select coalesce(string_agg(concat_ws(',', target_group_id, person_id, matched_rule_id, rule_match, ever_member,
                override, status, via, reasons), ';' order by target_group_id, person_id), '') from koppeling.membership
            """
        ).scalar()
    }
}
