import Postgres
import TestSupport
import Testing

@Suite("The status of a membership")
struct StatusTests {
    @Test("follows from its facts as the specification says, for every combination of them", .database)
    func everyCombination() async throws {
        let suppressions = ["complained", "unsubscribed", "cleaned", "forgotten", "removedInMailchimp"]
        var cases: [Facts] = []
        for ruleMatch in [false, true] {
            for override in ["none", "include", "exclude"] {
                for person in ["active", "archived", "erased"] {
                    for everMember in [false, true] {
                        for bits in 0..<(1 << suppressions.count) {
                            let open = suppressions.indices.filter { bits & (1 << $0) != 0 }.map { suppressions[$0] }
                            cases.append(
                                Facts(
                                    ruleMatch: ruleMatch, override: override, person: person, open: Set(open),
                                    everMember: everMember))
                        }
                    }
                }
            }
        }
        try await compare(cases)
    }

    @Test("does not depend on the order or the repetition of open reasons", .database)
    func order() async throws {
        let rows = try await TestDatabase.current.pool.query(
            """
            select a.reasons = b.reasons as same from
                koppeling.derive_status(true, 'none', 'archived', array['forgotten', 'complained', 'cleaned'], true) a,
                koppeling.derive_status(true, 'none', 'archived', array['cleaned', 'complained', 'cleaned', 'forgotten'], true) b
            """)
        #expect(try rows.scalar(as: Bool.self))
    }

    private func compare(_ cases: [Facts]) async throws {
        let rows = try await TestDatabase.current.pool.query(
            """
            select d.status, d.via, d.reasons
            from unnest(
                \(cases.map(\.ruleMatch))::boolean[], \(cases.map(\.override))::text[], \(cases.map(\.person))::text[],
                \(cases.map { $0.open.sorted().joined(separator: ",") })::text[], \(cases.map(\.everMember))::boolean[])
                with ordinality as f (rule_match, override, person, open, ever_member, place)
            cross join lateral koppeling.derive_status(
                f.rule_match, f.override, f.person, string_to_array(f.open, ','), f.ever_member) d
            order by f.place
            """)
        #expect(rows.count == cases.count)
        for (facts, row) in zip(cases, rows) {
            #expect(try Verdict(row) == verdict(on: facts), "\(facts)")
        }
    }
}

extension Verdict {
    /// The verdict in the columns status, via and reasons; nil when there is no membership.
    init?(_ row: Row) throws {
        guard let status = try row.decode("status", as: String?.self) else { return nil }
        self.init(status: status, via: try row.decode("via"), reasons: try row.decode("reasons"))
    }
}
