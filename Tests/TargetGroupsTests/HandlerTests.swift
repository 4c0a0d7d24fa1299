import JobQueue
import Logging
import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("The jobs of persons and groups")
struct HandlerTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]

    @Test("an edit of a person is evaluated by a worker without anybody asking", .database)
    func evaluation() async throws {
        let world = World()
        let group = try await world.group()
        try await working(world) {
            let person = try await world.put("1", categories: newsletter)
            try await eventually { try await world.membership(person, group) == .byRule }
            try await world.put("1", categories: [])
            try await eventually { try await world.membership(person, group) == .inactive("ruleNoLongerMatches") }
        }
    }

    @Test(
        "what the transaction of a dead worker gives back is evaluated without anybody asking", .database,
        arguments: ["a put", "a company's category", "a no at an address"])
    func givenBack(_ what: String) async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "een@example.nl", categories: what == "a put" ? [] : newsletter)
        try await world.pool.query("select koppeling.put_company('{\"source\": \"crm\", \"id\": \"C\"}')")
        try await world.evaluate()
        let expected: Verdict
        switch what {
        case "a put":
            try await world.put("1", categories: newsletter)
            expected = .byRule
        case "a company's category":
            try await world.pool.query(
                """
                select koppeling.put_person('{"source": "crm", "id": "1", "positions": [{"company": "C"}]}'),
                    koppeling.put_company('{"source": "crm", "id": "C", "categories": ["Klant"]}')
                """)
            try await world.evaluate()
            try await world.pool.query(
                """
                select koppeling.save_rules(g.id, g.rules_version,
                    '[[{"kind": "companyCategory", "value": "Klant"}]]', false, 'test')
                from koppeling.target_group g where g.id = \(group)::bigint
                """)
            try await world.pool.query(
                #"select koppeling.put_company('{"source": "crm", "id": "C", "categories": []}')"#)
            expected = .inactive("ruleNoLongerMatches")
        default:
            // As when the person was given the address in a transaction that could not see the no.
            try await world.pool.query(
                """
                with no as (
                    insert into koppeling.suppression (target_group_id, reason, address_key, source, occurred_at)
                    values (\(group)::bigint, 'unsubscribed', 'een@example.nl', 'mailchimp', koppeling.now())
                    returning id
                ), checked as (
                    insert into koppeling.holder_check (suppression_id) select id from no
                )
                select koppeling.enqueue('group.evaluate')
                """)
            expected = .inactive("unsubscribed")
        }
        struct Died: Error {}
        try await working(world) {
            try? await world.pool.transaction { connection in
                try await connection.query("select koppeling.evaluate_requests(1000)")
                try await eventually("a living worker has found nothing to do") {
                    try await world.pool.query(
                        """
                        select not exists (select from koppeling.job where kind = 'group.evaluate'
                                           and run_at <= koppeling.now())
                        """
                    ).scalar(as: Bool.self)
                }
                throw Died()
            }
            try await eventually { try await world.membership(person, group) == expected }
        }
    }

    @Test("an edit beside rules that are being saved is seen by one of them", .database, arguments: [true, false])
    func besideRules(comes: Bool) async throws {
        let world = World()
        let group = try await world.group(rules: [])
        let person = try await world.put("1", categories: comes ? [] : newsletter)
        try await world.pool.query("select koppeling.make_categories(\(newsletter)::text[])")
        try await world.evaluate()
        try await world.pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.save_rules(g.id, g.rules_version, \(JSONText(#"[[{"value": "Mailingen / Nieuwsbrief"}]]"#))::jsonb,
                    false, 'test')
                from koppeling.target_group g where g.id = \(group)::bigint
                """)
            try await world.put("1", categories: comes ? newsletter : [])
            try await world.evaluate()
        }
        try await world.evaluate()
        #expect(
            try await world.membership(person, group) == (comes ? .byRule : .inactive("ruleNoLongerMatches")))
    }

    @Test("persons that are enqueued are put; a faulty job is rejected with its field and holds no other up", .database)
    func puts() async throws {
        let world = World()
        let queue = JobQueue(pool: world.pool)
        let jobs = try await queue.enqueue(many: [
            NewJob(kind: "persons.put", args: #"[{"source": "crm", "id": "1", "family_name": "Een"}]"#),
            NewJob(kind: "persons.put", args: #"[{"source": "crm", "id": "2", "gender": "blauw"}]"#),
            NewJob(kind: "persons.put", args: #"{"source": "crm", "id": "1", "family_name": "Twee"}"#),
        ])
        try await working(world) {
            try await eventually {
                try await world.pool.query(
                    "select count(*) from koppeling.job_history where id = any (\(jobs)::bigint[])"
                ).scalar(as: Int64.self) == 3
            }
        }
        #expect(try await world.persons.find(source: "crm", id: "1")?.familyName == "Twee", "in the order of the jobs")
        #expect(try await world.persons.find(source: "crm", id: "2") == nil)
        let rejected = try await world.pool.query(
            "select id, reason from koppeling.job_history where outcome = 'rejected'")
        #expect(try rejected.map { row in try row.decode("id", as: Int64.self) } == [jobs[1]])
        #expect(try rejected[0].decode("reason", as: String.self).hasPrefix(#"person 1: field "gender" must be"#))
    }

    @Test("edits, a no and hands at once on one group end as if they had come one by one", .database)
    func together() async throws {
        let world = World()
        let group = try await world.group()
        var persons: [Int64] = []
        for id in 0..<30 { persons.append(try await world.put("\(id)", email: "p\(id)@example.nl")) }
        let everybody = persons
        try await working(world, workers: 2) {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    for id in 0..<30 { try await world.put("\(id)", categories: newsletter) }
                }
                tasks.addTask {
                    for id in stride(from: 0, to: 30, by: 3) {
                        try await world.found("unsubscribed", at: "p\(id)@example.nl", group: group)
                    }
                }
                tasks.addTask {
                    for id in stride(from: 1, to: 30, by: 3) {
                        try await world.memberships.setOverride(
                            .exclude, person: everybody[id], group: group, actor: "piet")
                    }
                }
                try await tasks.waitForAll()
            }
            try await eventually {
                try await world.pool.query(
                    """
                    select count(*) from koppeling.membership m
                    join koppeling.person p on p.id = m.person_id
                    where concat_ws(' ', m.status, m.reasons[1]) = case p.external_id::int % 3
                        when 0 then 'inactive unsubscribed' when 1 then 'inactive manual'
                        else 'active' end
                    """
                ).scalar(as: Int64.self) == 30
            }
        }
    }

    private func working(_ world: World, workers: Int = 1, _ body: () async throws -> Void) async throws {
        let handlers: [any JobHandler] = [EvaluateHandler(pool: world.pool), PutPersonsHandler(pool: world.pool)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<workers {
                let worker = Worker(
                    pool: world.pool, options: .init(name: "worker \(number)"),
                    logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() })
                group.addTask { try? await worker.run() }
                group.addTask { try? await worker.consume(queue: "default", handlers: handlers) }
            }
            defer { group.cancelAll() }
            try await body()
        }
    }
}
