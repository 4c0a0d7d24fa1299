import Postgres
import TargetGroups
import TestSupport
import Testing

@testable import Connector

/// Everybody who writes about one group, at the same time.
@Suite("All at once on one group", .database)
struct TogetherTests {
    private struct Seen: Sendable {
        var membership: String?
        var contact: LinkedList.Contact?
    }

    @Test(
        "two evaluators, an import, puts and hands: no update is lost, nobody made twice, and nobody meets a deadlock")
    func together() async throws {
        try await LinkedList.run(persons: 60, workers: 2) { list in
            try await list.quiet()
            try await list.brake(removals: 1_000_000)
            let rows = (0..<120).map { "test,\($0),Meer \($0),\(list.address("\($0)"))\n" }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await list.imported("source,id,family_name,email_zakelijk\n" + rows.joined()) }
                tasks.addTask { try await categories(list) }
                tasks.addTask { try await givenNames(list) }
                tasks.addTask { try await hands(list) }
                try await tasks.waitForAll()
            }
            try await list.quiet()
            // Who was taken out and came back twice within the hour waits for somebody, who says: do it.
            try await list.pool.query("select koppeling.run_waiting_actions(\(list.instance.name)::text)")
            try await list.quiet()
            for id in 0..<120 {
                let seen = Seen(
                    membership: try await list.membership("\(id)"),
                    contact: try await list.contact(list.address("\(id)")))
                judge(id, seen)
            }
            let findings = try await GroupChecks(pool: list.pool).run()
            #expect(findings == GroupChecks.Findings(groups: 1, defects: 0))
            let (claims, active, rejected) = try await list.pool.query(
                """
                select (select count(*) from koppeling.claim) as claims,
                       (select count(*) from koppeling.membership where status = 'active') as active,
                       (select count(*) from koppeling.job_history where outcome = 'rejected') as rejected
                """
            ).map { row in
                (
                    try row.decode("claims", as: Int.self), try row.decode("active", as: Int.self),
                    try row.decode("rejected", as: Int.self)
                )
            }[0]
            #expect(claims == active)
            #expect(rejected == 0)
        }
        // What a session met is counted for sure when it has ended.
        let pool = TestDatabase.current.pool
        try await eventually("the sessions have ended") {
            try await pool.query(
                """
                select not exists (select from pg_stat_activity
                                   where datname = current_database() and pid <> pg_backend_pid()
                                     and backend_type = 'client backend')
                """
            ).scalar(as: Bool.self)
        }
        let deadlocks: Int = try await pool.query(
            "select deadlocks from pg_stat_database where datname = current_database()"
        ).scalar()
        #expect(deadlocks == 0)
    }

    /// Everybody's category, put one by one and twice: a quarter leaves and comes back, another quarter leaves.
    private func categories(_ list: LinkedList) async throws {
        for round in 0..<2 {
            for id in 0..<120 {
                let categories = id % 4 == 1 - round ? "[]" : #"["\#(LinkedList.category)"]"#
                try await list.pool.query(
                    """
                    select koppeling.put_person(jsonb_build_object(
                        'source', 'test', 'id', \("\(id)"), 'categories', \(JSONText(categories))::jsonb))
                    """)
            }
        }
    }

    /// The given names of those who were there, all in one call, the last person first.
    private func givenNames(_ list: LinkedList) async throws {
        for name in ["Piet", "Klaas", "Kees"] {
            try await list.pool.query(
                """
                select koppeling.put_persons(jsonb_agg(jsonb_build_object(
                    'source', 'test', 'id', n::text, 'given_name', \(name)::text) order by n desc))
                from generate_series(0, 59) n
                """)
        }
    }

    /// A fifth is taken out by hand, another fifth added.
    private func hands(_ list: LinkedList) async throws {
        for step in 0..<3 {
            for id in 0..<60 where id % 5 < 2 {
                try await list.decide(step == 1 ? "none" : id % 5 == 0 ? "exclude" : "include", "\(id)")
            }
        }
    }

    /// Whether this is what the last facts say, worked out a second time and in the simplest words.
    private func judge(_ id: Int, _ seen: Seen) {
        let matches = id % 4 != 0
        let contact = seen.contact
        switch (id < 60 ? id % 5 : 5, matches) {
        case (0, _):
            #expect(seen.membership == "inactive manual", "\(id)")
            #expect(contact?.status == "archived", "\(id)")
        case (1, _), (_, true):
            #expect(seen.membership == (id < 60 && id % 5 == 1 ? "active manual" : "active rule"), "\(id)")
            #expect(contact?.status == "subscribed", "\(id)")
            #expect(contact?.merge_fields["LNAME"] == "Meer \(id)")
            if id < 60 { #expect(contact?.merge_fields["FNAME"] == "Kees", "\(id)") }
        default:
            // Who came and went between two looks was never a member.
            #expect([nil, "inactive ruleNoLongerMatches"].contains(seen.membership), "\(id)")
            #expect([nil, "archived"].contains(contact?.status), "\(id)")
        }
        // Whoever came with address and name in one row, and stayed, needed one call.
        if id >= 60, id % 4 > 1 { #expect(contact?.writes == 1, "\(id)") }
    }
}
