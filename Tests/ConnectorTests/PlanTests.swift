import Postgres
import TestSupport
import Testing

@testable import Connector

/// The brake between what is wanted and what is sent.
@Suite("A change plan", .database, .timeLimit(.minutes(10)))
struct PlanTests {
    private func held(_ list: LinkedList) async throws -> Plans.Plan? {
        try await Plans(pool: list.pool).list().first { $0.state == "held" }
    }

    @Test("holds more than 25 removals within a day, applies them when approved, and refuses a stale approval")
    func removals() async throws {
        try await LinkedList.run(persons: 40) { list in
            try await list.quiet()
            for id in 0..<30 { try await list.put("\(id)", isMember: false) }
            try await list.quiet()
            let plan = try #require(try await held(list))
            #expect(plan.leaves > 0)
            let left = try await list.pool.query(
                "select count(*) from koppeling.membership where status = 'inactive'"
            ).scalar(as: Int64.self)
            #expect(left == 30)
            // What was let through before the brake, and what the plan holds, are all of them.
            let archived = try await list.pool.query(
                "select count(*) from koppeling.audience_member where status = 'archived'"
            ).scalar(as: Int64.self)
            #expect(archived <= 25)
            #expect(Int(archived) + plan.leaves == 30)
            let plans = Plans(pool: list.pool)
            await #expect(throws: PostgresError.self) {
                _ = try await plans.approve(plan: plan.id, version: plan.version + 1, actor: "test")
            }
            let lines = try await plans.lines(plan: plan.id)
            #expect(lines.count == plan.leaves)
            #expect(lines.allSatisfy { $0.change == "leave" && $0.reason == "ruleNoLongerMatches" })
            #expect(try await plans.approve(plan: plan.id, version: plan.version, actor: "test") == plan.leaves)
            try await list.quiet()
            #expect(try await list.status(list.address("29")) == "archived")
        }
    }

    @Test("is rewritten by later facts, and dissolves when they are taken back")
    func rewritten() async throws {
        try await LinkedList.run(persons: 40) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            for id in 0..<3 { try await list.put("\(id)", isMember: false) }
            try await list.quiet()
            #expect(try await held(list)?.leaves == 3)
            try await list.put("0")
            try await list.quiet()
            #expect(try await held(list)?.leaves == 2)
            for id in 1..<3 { try await list.put("\(id)") }
            try await list.quiet()
            #expect(try await held(list) == nil)
            #expect(try await list.status(list.address("1")) == "subscribed")
        }
    }

    @Test("never holds a no, nor a removal by hand")
    func exempt() async throws {
        try await LinkedList.run(persons: 10) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await held(list)?.leaves == 1)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '1')")
            try await list.decide("exclude", "2")
            try await list.quiet()
            #expect(try await list.status(list.address("1")) == "unsubscribed")
            #expect(try await list.status(list.address("2")) == "archived")
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("holds names that would be emptied, and the old names stay in the list")
    func emptied() async throws {
        try await LinkedList.run(persons: 10) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            try await list.put("3", #"{"given_name": null, "initials": null}"#)
            try await list.quiet()
            #expect(try await held(list)?.emptied == 1)
            #expect(try await list.contact(list.address("3"))?.merge_fields["FNAME"] == "Jan")
        }
    }
}
