import EmbeddedPostgres
import FoundationEssentials
import Glibc
import IO
import Logging
import Postgres

/// The PostgreSQL of this test process: started by the first test that wants a database, gone with the process.
actor TestCluster {
    static let shared = TestCluster()

    struct Ready: Sendable {
        let settings: ConnectionSettings
        let admin: Pool
    }

    private var starting: Task<Ready, any Error>?
    private var migrating: Task<Void, any Error>?

    static let template = "koppeling_template"

    func ready() async throws -> Ready {
        if let starting { return try await starting.value }
        let task = Task { try await Self.start() }
        starting = task
        return try await task.value
    }

    /// The template is migrated once, whichever test comes first.
    func migratedTemplate() async throws -> String {
        let ready = try await ready()
        let task = migrating ?? Task { try await Self.migrate(ready) }
        migrating = task
        try await task.value
        return Self.template
    }

    private static func start() async throws -> Ready {
        sweep()
        let directory = "/tmp/koppeling-tests-\(getpid())"
        let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        let postgres = EmbeddedPostgres(directory: directory, durable: false, logger: logger)
        let settings = try await postgres.start()
        running.withLock { $0 = postgres }
        atexit { running.withLock { $0 }?.abandon() }
        return Ready(
            settings: settings, admin: Pool(settings.with(database: "postgres"), maximum: 2, patience: .seconds(120)))
    }

    private static func migrate(_ ready: Ready) async throws {
        try await ready.admin.query("create database \(identifier: template)")
        let migrator = try Migrator.locate()
        let names = try FileManager.default.contentsOfDirectory(atPath: migrator.directory)
        guard names.contains(where: { $0.hasSuffix(".sql") && $0.first?.isNumber == true }) else { return }
        let connection = try await Connection.connect(ready.settings.with(database: template))
        _ = try await migrator.migrate(connection)
    }

    /// Removes what test processes left that were killed; their servers ended with them.
    private static func sweep() {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/tmp")) ?? []
        for name in names {
            guard name.hasPrefix("koppeling-tests-"), let pid = pid_t(name.dropFirst("koppeling-tests-".count)),
                kill(pid, 0) == -1, errno == ESRCH
            else { continue }
            try? FileManager.default.removeItem(atPath: "/tmp/" + name)
        }
    }
}

private let running = Locked<EmbeddedPostgres?>(nil)
