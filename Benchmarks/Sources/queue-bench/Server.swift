import EmbeddedPostgres
import Foundation
import Logging
import Postgres

/// The server that everything is measured on, ours and the others: new, private, with durable commits.
final class Server {
    /// What differs from the server's defaults, for all alike: memory as on a small server, and no checkpoint in between.
    static let parameters = [
        "fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "1GB",
        "max_wal_size": "8GB", "checkpoint_timeout": "30min", "max_connections": "100",
    ]

    let programs: ServerPrograms
    private let settings: ConnectionSettings
    private let admin: Pool
    private static let template = "bench_template"

    private init(_ settings: ConnectionSettings) throws {
        programs = try ServerPrograms.find()
        self.settings = settings
        admin = Pool(settings.with(database: "postgres"), maximum: 2)
    }

    /// Starts a server, runs the body, and leaves nothing behind.
    static func with<Value>(_ body: (Server) async throws -> Value) async throws -> Value {
        sweep()
        let folder = "\(prefix)\(getpid())"
        let logger = Logger(label: "queue-bench") { _ in SwiftLogNoOpLogHandler() }
        let embedded = EmbeddedPostgres(directory: folder, parameters: parameters, logger: logger)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let result: Result<Value, any Error>
        do {
            var settings = try await embedded.start()
            settings.statementTimeout = .seconds(600)
            let server = try Server(settings)
            try await server.makeTemplate()
            result = .success(try await body(server))
        } catch {
            result = .failure(error)
        }
        await embedded.stop()
        return try result.get()
    }

    /// A database of its own for one measurement, with our schema or empty; dropped afterwards.
    func withDatabase<Value>(migrated: Bool = true, _ body: (Database) async throws -> Value) async throws -> Value {
        let template = migrated ? Self.template : "template0"
        try await admin.query("drop database if exists bench with (force)")
        // Here, so that none comes in the middle.
        try await admin.query("checkpoint")
        try await admin.query("create database bench template \(identifier: template)")
        let database = Database(settings.with(database: "bench"))
        let result: Result<Value, any Error>
        do {
            result = .success(try await body(database))
        } catch {
            result = .failure(error)
        }
        await database.pool.close()
        return try result.get()
    }

    /// Transactions that ended in the measured database so far, asked from another one.
    func transactions() async throws -> Int64 {
        try await admin.query(
            "select xact_commit + xact_rollback from pg_stat_database where datname = 'bench'"
        ).scalar()
    }

    /// What the server says about itself, in one line.
    func description() async throws -> String {
        let rows = try await admin.query(
            """
            select current_setting('server_version') || ', ' || string_agg(name || ' ' || current_setting(name), ', '
                order by name)
            from unnest(\(Self.parameters.keys.sorted())::text[]) name
            """)
        return "PostgreSQL " + (try rows.scalar(as: String.self))
    }

    private func makeTemplate() async throws {
        try await admin.query("create database \(identifier: Self.template) template template0")
        let connection = try await Connection.connect(settings.with(database: Self.template))
        _ = try await Migrator.locate().migrate(connection)
        try await connection.execute(
            "insert into koppeling.job_kind (kind, public) values (\(Work.kind)::text, true) on conflict do nothing")
    }

    /// Not /tmp, which may be memory.
    private static let prefix = "/var/tmp/koppeling-bench-"

    /// Removes what benchmarks left that were killed; their servers ended with them.
    private static func sweep() {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: "/var/tmp")) ?? [] {
            let path = "/var/tmp/" + name
            guard path.hasPrefix(prefix), let pid = pid_t(path.dropFirst(prefix.count)), kill(pid, 0) == -1,
                errno == ESRCH
            else { continue }
            try? FileManager.default.removeItem(atPath: path)
        }
    }
}
