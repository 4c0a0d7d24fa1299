import Connector
import HTTPClient
import JobQueue
import Logging
import MailchimpSandbox
import Postgres
import TargetGroups
import TestSupport
import Testing

@testable import Connector

/// A linked list to test with: the database of the test, a sandbox of its own, and a worker that is at work.
struct LinkedList: Sendable {
    static let category = "Mailingen / Nieuwsbrief"

    let pool: Pool
    let instance: Instances.Instance
    let instances: Instances
    let accounts: Accounts
    let list: String
    let http: HTTPClient
    let port: Int

    /// Runs the body with a list that is linked, enabled and activated, with a rule on the newsletter's category.
    static func run(
        persons: Int = 0, switches: SandboxSwitches = SandboxSwitches(), workers: Int = 1,
        environment: Deployment.Environment = .production, clock: (@Sendable () -> Int)? = nil,
        _ body: @Sendable (LinkedList) async throws -> Void
    ) async throws {
        var configuration = SandboxConfiguration()
        configuration.controlDoorIsOpen = true
        configuration.switches = switches
        if let clock { configuration.clock = clock }
        let server = MailchimpSandbox(configuration: configuration)
        let port = try await server.start()
        let list = await server.addList(name: "Nieuwsbrief")
        let http = HTTPClient(allowPlaintext: true)
        let failure: (any Error)?
        do {
            let linked = try await link(configuration.key, list, http, port, environment)
            try await linked.prepare(persons: persons)
            try await linked.work(workers, body)
            failure = nil
        } catch {
            failure = error
        }
        http.shutdown()
        await server.stop()
        if let failure { throw failure }
    }

    private static func link(
        _ key: String, _ list: String, _ http: HTTPClient, _ port: Int, _ environment: Deployment.Environment
    ) async throws -> LinkedList {
        // The workers' connections come on top of the test's own.
        let pool = Pool(TestDatabase.current.settings, maximum: 12)
        let vault = try Vault(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        let accounts = Accounts(
            pool: pool, vault: vault, http: http, rootOverride: "http://127.0.0.1:\(port)", environment: environment)
        let instances = Instances(pool: pool, accounts: accounts, vault: vault)
        let account = try await accounts.connect(apiKey: key, name: "Instituut")
        let instance = try await instances.link(
            account: account, list: list, name: nil, emailKind: "zakelijk", actor: "test")
        return LinkedList(
            pool: pool, instance: instance, instances: instances, accounts: accounts, list: list, http: http, port: port
        )
    }

    private func prepare(persons: Int) async throws {
        // The category comes with the first person who has it, also where nobody keeps it.
        for id in 0..<max(persons, 1) { try await put("\(id)") }
        if persons == 0 { try await put("0", isMember: false) }
        try await pool.query(
            """
            insert into koppeling.rule (target_group_id, position)
            select target_group_id, 1 from koppeling.connector_instance
            """)
        try await pool.query(
            """
            insert into koppeling.criterion (rule_id, kind, value_id)
            select r.id, 'personCategory', c.id from koppeling.rule r, koppeling.category c
            """)
        // The tests of the brake hold a plan of their own; the others begin activated.
        try await pool.query(
            "update koppeling.connector_instance set activated = true, joins_cap = 1000000, joins_count = 1000000")
        try await instances.setEnabled(true, instance: instance.name)
    }

    private func work(_ count: Int, _ body: @Sendable (LinkedList) async throws -> Void) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let log = logger
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<count {
                let worker = Worker(pool: pool, listenSettings: TestDatabase.current.settings, logger: log)
                let switchboard = Switchboard(
                    pool: pool, worker: worker, accounts: accounts, webhooks: nil, logger: log)
                let pool = pool
                group.addTask { try await worker.run() }
                group.addTask { try? await switchboard.run() }
                group.addTask {
                    try? await worker.consume(
                        queue: "default",
                        handlers: [
                            EvaluateHandler(pool: pool), PullRequestHandler(pool: pool),
                            ErasureHandler(pool: pool, vault: instances.vault),
                            LastLookHandler(pool: pool, accounts: accounts, worker: worker),
                        ])
                }
            }
            let result: Result<Void, any Error>
            do { result = .success(try await body(self)) } catch { result = .failure(error) }
            group.cancelAll()
            while (try? await group.next()) != nil {}
            await pool.close()
            try result.get()
        }
    }

    func address(_ id: String) -> String { "persoon\(id)@post.koppeling.nl" }

    /// Puts a person who is, or is not, a member by the rule.
    func put(_ id: String, isMember: Bool = true, _ fields: String = "{}") async throws {
        let categories = isMember ? #"["\#(Self.category)"]"# : "[]"
        let base = JSONText(
            #"{"given_name": "Jan", "family_name": "Berg \#(id)", "emails": {"zakelijk": "\#(address(id))"}}"#)
        try await pool.query(
            """
            select koppeling.put_person(jsonb_build_object('source', 'test', 'id', \(id),
                'categories', \(JSONText(categories))) || \(base) || \(JSONText(fields)))
            """)
    }

    /// Goes through the sandbox's control door.
    @discardableResult
    func control(_ method: String, _ path: String, _ json: String? = nil) async throws -> JSONText {
        let response = try await http.send(
            HTTPRequest(
                method: method, url: "http://127.0.0.1:\(port)/sandbox/\(path)",
                headers: [("Content-Type", "application/json")], body: json.map { Array($0.utf8) }))
        if response.status == 404 { return "null" }
        try #require(response.status == 200, "\(path): \(String(decoding: response.body, as: UTF8.self))")
        return JSONText(utf8: response.body)
    }

    /// Calls the API as the program does, but unknown to it: a call whose worker died before it could record anything.
    func unrecorded(_ method: String, _ address: String, _ json: String? = nil) async throws {
        let response = try await http.send(
            HTTPRequest(
                method: method, url: "http://127.0.0.1:\(port)/3.0/lists/\(list)/members/\(address)",
                headers: [
                    ("Authorization", "Bearer \(SandboxConfiguration().key)"), ("Content-Type", "application/json"),
                ],
                body: json.map { Array($0.utf8) }))
        try #require((200..<300).contains(response.status), "\(response.status)")
    }

    /// Commits the intent of a call on the only member that is claimed, or on the only one there is.
    func intend(_ intent: String) async throws {
        try await pool.query(
            """
            select koppeling.begin_call(m.id, \(intent)::text, c.fields, c.address_key)
            from koppeling.audience_member m left join koppeling.claim c on c.member_id = m.id
            """)
    }

    /// Stops the workers' actions, and lets them go on.
    func hold(_ isHeld: Bool) async throws {
        if isHeld {
            try await pool.query("select koppeling.pause(queue => 'instance-1')")
        } else {
            try await pool.query("select koppeling.resume(queue => 'instance-1')")
        }
    }

    /// Waits until as many actions wait.
    func staged(_ count: Int64) async throws {
        try await eventually("\(count) are staged") {
            try await pool.query("select count(*) from koppeling.job where kind = 'action'").scalar(as: Int64.self)
                == count
        }
    }

    func asContact(_ act: String, _ address: String, _ json: String = "{}") async throws {
        try await control("POST", "lists/\(list)/members/\(address)/contact/\(act)", json)
    }

    func asAdmin(_ act: String, _ address: String) async throws {
        try await control("POST", "lists/\(list)/members/\(address)/admin/\(act)", "{}")
    }

    /// A contact as the sandbox holds it.
    struct Contact: Decodable {
        var email_address: String
        var contact_id: String
        var status: String
        var merge_fields: [String: String]
        var writes: Int
    }

    func contact(_ address: String) async throws -> Contact? {
        try await control("GET", "lists/\(list)/members/\(address)").decode(Contact?.self)
    }

    func status(_ address: String) async throws -> String? { try await contact(address)?.status }

    /// The calls that changed a member, by method, since the log was reset.
    func writes() async throws -> Int {
        struct Counts: Decodable {
            struct Count: Decodable {
                var method: String
                var count: Int
            }
            var counts: [Count]
        }
        let counts: Counts = try await control("GET", "requests/counts").decode()
        return counts.counts.filter { $0.method != "GET" }.reduce(0) { $0 + $1.count }
    }

    /// Waits until nothing is left to do, besides jobs of a kind that nobody takes.
    func quiet(besides kind: String = "", at location: SourceLocation = #_sourceLocation) async throws {
        try await eventually("the queue is empty", within: .seconds(60), at: location) {
            try await pool.query(
                """
                select count(*) from koppeling.job
                where run_at < koppeling.now() + interval '30 seconds' and kind not in ('instance.pull', \(kind)::text)
                   or kind = 'instance.pull' and run_at <= koppeling.now()
                """
            ).scalar(as: Int64.self) == 0
        }
    }

    /// Reads the list as a pull does, and waits for what follows.
    func pull(full: Bool = false) async throws {
        try await instances.requestPull(instance: instance.name, full: full)
        try await quiet()
    }

    func membership(_ id: String) async throws -> String? {
        let rows = try await pool.query(
            """
            select m.status || ' ' || coalesce(m.via, m.reasons[1]) as status
            from koppeling.membership m
            join koppeling.person p on p.id = m.person_id
            where p.external_id = \(id)
            """)
        return try rows.first?.decode("status")
    }

    func decide(_ override: String, _ id: String) async throws {
        try await pool.query(
            """
            select koppeling.set_override(i.target_group_id, koppeling.find_person('test', \(id)), \(override), 'test')
            from koppeling.connector_instance i
            """)
    }
}
