import Connector
import EmbeddedPostgres
import Foundation
import HTTPClient
import Logging
import MailchimpSandbox
import Postgres
import ServiceCenter
import ServiceLifecycle

/// What a demonstration or a benchmark runs on: a private database, the stand-in for Mailchimp, a service center.
///
/// The database and its folder are new each time; ports are taken as they are free.
struct StandInWorld: Sendable {
    /// The key that the sandbox accepts.
    static let apiKey = "0123456789abcdef0123456789abcdef-us7"
    /// A key of another account, which has no list.
    static let emptyKey = "fedcba9876543210fedcba9876543210-us7"

    /// What seals the credentials; nothing here is worth hiding.
    private static let secretKey = Data(count: 32).base64EncodedString()

    let folder: String
    let database: ConnectionSettings
    let pool: Pool
    let embedded: EmbeddedPostgres
    let sandbox: MailchimpSandbox
    let sandboxRoot: String
    let serviceCenterURL: String
    let http: HTTPClient
    let program: Program

    /// Starts all of it, runs the body, and ends it again.
    static func with<Value: Sendable>(
        logger: Logger, listen: ListenAddress, lists: [String] = ["Nieuwsbrief"],
        configure: (inout SandboxConfiguration) -> Void = { _ in },
        _ body: @Sendable (StandInWorld) async throws -> Value
    ) async throws -> Value {
        let folder = "/tmp/koppeling-standin-\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let embedded = EmbeddedPostgres(directory: folder + "/postgres", logger: logger)
        let sandbox = Self.sandbox(lists, logger, configure)
        let http = HTTPClient(connectionsPerHost: 4, allowPlaintext: true)
        let result: Result<Value, any Error>
        do {
            let database = try await embedded.start()
            let port = try await sandbox.start()
            result = .success(
                try await serve(
                    folder: folder, database, embedded, sandbox, "http://127.0.0.1:\(port)", http, listen, logger, body)
            )
        } catch {
            result = .failure(error)
        }
        http.shutdown()
        await sandbox.stop()
        await embedded.stop()
        return try result.get()
    }

    private static func sandbox(
        _ lists: [String], _ logger: Logger, _ configure: (inout SandboxConfiguration) -> Void
    ) -> MailchimpSandbox {
        var configuration = SandboxConfiguration()
        configuration.key = apiKey
        configuration.lists = lists
        configuration.controlDoorIsOpen = true
        configure(&configuration)
        return MailchimpSandbox(configuration: configuration, logger: logger)
    }

    // Everything that was started, in the order of starting.
    private static func serve<Value: Sendable>(
        folder: String, _ database: ConnectionSettings, _ embedded: EmbeddedPostgres, _ sandbox: MailchimpSandbox,
        _ sandboxRoot: String, _ http: HTTPClient, _ listen: ListenAddress, _ logger: Logger,
        _ body: @Sendable (StandInWorld) async throws -> Value
    ) async throws -> Value {
        let pool = Pool(database, maximum: 8)
        let center = try serviceCenter(pool, listen, logger)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            let services = ServiceGroup(services: [center], logger: logger)
            group.addTask { try await services.run() }
            let url = "http://127.0.0.1:\(try await center.boundPort())"
            let world = StandInWorld(
                folder: folder, database: database, pool: pool, embedded: embedded, sandbox: sandbox,
                sandboxRoot: sandboxRoot, serviceCenterURL: url, http: http,
                program: Program(environment: [
                    "DATABASE_URL": database.url, "KOPPELING_SECRET_KEY": secretKey,
                    "KOPPELING_MAILCHIMP_URL": sandboxRoot, "KOPPELING_PUBLIC_URL": url,
                    "KOPPELING_ENVIRONMENT": "production",
                ]))
            let value = try await body(world)
            await services.triggerGracefulShutdown()
            try await group.waitForAll()
            await pool.close()
            return value
        }
    }

    /// Whoever asked for a port gets it when it is free, else another.
    private static func serviceCenter(
        _ pool: Pool, _ listen: ListenAddress, _ logger: Logger
    ) throws -> ServiceCenter {
        let port = isFree(listen.port) ? listen.port : 0
        return ServiceCenter(
            pool: pool, configuration: .init(host: "127.0.0.1", port: port), vault: try Vault(base64: secretKey),
            logger: logger)
    }

    private static func isFree(_ port: Int) -> Bool {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(clamping: port)).bigEndian
        address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
        return unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
    }

    /// Waits for something to become true.
    ///
    /// - Throws: ``Failure`` that says what did not come about in time.
    func eventually(
        _ what: String, within limit: Duration = .seconds(60), _ condition: () async throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now + limit
        while try await !condition() {
            guard ContinuousClock.now < deadline else { throw Failure("\(what): not within \(limit)") }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Waits until no action and no evaluation is left to do.
    func quiet(within limit: Duration = .seconds(90)) async throws {
        try await eventually("the queue becomes empty", within: limit) {
            try await number(
                """
                select count(*) from koppeling.job
                where kind in ('action', 'group.evaluate', 'plan.apply', 'instance.webhooks')
                   or kind = 'instance.pull' and run_at <= koppeling.now()
                """) == 0
        }
    }

    /// One number from the database.
    func number(_ query: Query) async throws -> Int64 {
        try await pool.query(query).scalar()
    }

    /// Puts a person through the SQL door, as another system would.
    func put(_ id: String, _ fields: String) async throws {
        try await pool.query(
            """
            select koppeling.put_person(jsonb_build_object('source', 'coachview', 'id', \(id)) || \(JSONText(fields)))
            """)
    }

    /// A membership as the view shows it: `active (rule)`, `inactive (unsubscribed)`; empty when there is none.
    func membership(_ id: String) async throws -> String {
        let rows = try await pool.query(
            """
            select m.status || ' (' || coalesce(m.via, m.reasons[1]) || ')' as status
            from koppeling.membership m
            join koppeling.person p on p.id = m.person_id
            where p.external_id = \(id)
            """)
        return try rows.first?.decode("status") ?? ""
    }
}
