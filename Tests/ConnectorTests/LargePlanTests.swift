import JobQueue
import Logging
import Postgres
import TestSupport
import Testing

@testable import Connector

/// A plan of more persons than are applied with the approval itself.
@Suite("A plan of many", .database)
struct LargePlanTests {
    @Test("is applied by the next worker when one dies; who changed meanwhile is left out; rules back take them back")
    func resumed() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.put(1..<320)
            try await list.quiet()
            let before = try await contacts(of: list)
            let rules = try await list.rules()
            try await list.saveRules("[]")
            try await list.quiet()
            let plan = try #require(try await list.heldPlan())
            #expect(plan.leaves == 320)
            try await list.control("DELETE", "requests")
            let approved = try await Plans(pool: list.pool)
                .approve(plan: plan.id, version: plan.version, actor: "test")
            #expect(approved == 320)
            try await list.quiet(besides: "plan.apply")
            #expect(try await list.members("archived") == 250)

            let waiting = try await waiting(plan.id, in: list)
            #expect(waiting.count == 70)
            let (unsubscribed, included) = (waiting[65], waiting[67])
            try await list.asContact("unsubscribe", list.address(unsubscribed))
            try await list.instances.requestPull(instance: list.instance.name, full: false)
            try await list.decide("include", included)
            try await list.quiet(besides: "plan.apply")
            #expect(try await list.membership(unsubscribed) == "inactive unsubscribed")
            #expect(try await claims(in: list) == 69)

            try await die(at: waiting[45], plan.id, in: list)
            #expect(try await claims(in: list) == 39, "one piece of thirty is applied, and none of the next")
            #expect(try await state(plan.id, in: list) == "approved")

            try await working(list) { try await list.quiet() }
            #expect(try await state(plan.id, in: list) == "applied")
            for (id, contact) in try await contacts(of: list) {
                switch id {
                case unsubscribed: #expect(contact.status == "unsubscribed")
                case included: #expect(contact.status == "subscribed" && contact.writes == 1)
                default: #expect(contact.status == "archived", "\(id)")
                }
            }
            #expect(try await list.writes() == 318, "each was archived once")
            #expect(try await list.membership(included) == "active manual")

            try await list.saveRules(rules)
            try await list.quiet()
            for (id, contact) in try await contacts(of: list) {
                #expect(contact.status == (id == unsubscribed ? "unsubscribed" : "subscribed"), "\(id)")
                #expect(contact.contact_id == before[id]?.contact_id)
            }
        }
    }

    /// A worker that has applied one piece dies within the next, which waits for somebody's claim.
    private func die(at person: String, _ plan: Int64, in list: LinkedList) async throws {
        try await TestDatabase.current.pool.transaction { connection in
            try await connection.query(
                """
                select from koppeling.claim where person_id = koppeling.find_person('test', \(person)::text) for update
                """)
            try await working(list) {
                try await eventually("the second piece waits") {
                    try await list.pool.query(
                        """
                        select exists (select from pg_stat_activity
                                       where datname = current_database() and wait_event_type = 'Lock'
                                         and query like '%apply_plan%')
                            and exists (select from koppeling.claim having count(*) = 39)
                        """
                    ).scalar(as: Bool.self)
                }
            }
        }
    }

    /// A worker that applies plans by thirty persons, for as long as the body takes.
    private func working(_ list: LinkedList, _ body: () async throws -> Void) async throws {
        let worker = Worker(pool: list.pool, logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await worker.run() }
            group.addTask {
                let handler = ApplyPlanHandler(pool: list.pool, piece: 30)
                try? await worker.consume(queue: "default", handlers: [handler])
            }
            let result: Result<Void, any Error>
            do { result = .success(try await body()) } catch { result = .failure(error) }
            group.cancelAll()
            while await group.nextResult() != nil {}
            try result.get()
        }
    }

    private func contacts(of list: LinkedList) async throws -> [String: LinkedList.Contact] {
        var contacts: [String: LinkedList.Contact] = [:]
        for id in 0..<320 { contacts["\(id)"] = try await list.contact(list.address("\(id)")) }
        #expect(contacts.count == 320)
        return contacts
    }

    /// Those whose lines are not applied yet, in the order in which they will be.
    private func waiting(_ plan: Int64, in list: LinkedList) async throws -> [String] {
        try await list.pool.query(
            """
            select p.external_id
            from koppeling.change_plan c
            join koppeling.change_plan_line l on l.plan_id = c.id and l.person_id > c.applied_through
            join koppeling.person p on p.id = l.person_id
            where c.id = \(plan)::bigint
            order by l.person_id
            """
        ).map { try $0.decode(0) }
    }

    private func claims(in list: LinkedList) async throws -> Int {
        try await list.pool.query("select count(*) from koppeling.claim").scalar()
    }

    private func state(_ plan: Int64, in list: LinkedList) async throws -> String {
        try await list.pool.query("select state from koppeling.change_plan where id = \(plan)::bigint").scalar()
    }
}
