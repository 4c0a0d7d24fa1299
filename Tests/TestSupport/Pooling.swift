import EmbeddedPostgres
import FoundationEssentials
import Glibc
import IO
public import Postgres
public import Testing

/// What lends the server's sessions to clients for one transaction each.
public enum Pooling: String, Sendable, CaseIterable, CustomTestStringConvertible {
    /// The pooler of these tests, which also tells what was left behind in a session.
    case standIn = "the stand-in"
    /// PgBouncer, where it is installed, or where `KOPPELING_PGBOUNCER` says that its program is.
    case pgBouncer = "PgBouncer"

    /// Those that can be had on this machine.
    public static var available: [Pooling] { allCases.filter { $0 == .standIn || PgBouncer.program != nil } }

    /// Its name.
    public var testDescription: String { rawValue }
}

/// Runs the body with settings that lead to the test's database through a pooler in transaction mode.
///
/// It has a few sessions, and takes the one that has been free for the longest: whoever relies on a session's state meets
/// another at once.
public func withPooler<Value: Sendable>(
    _ pooling: Pooling, sessions: Int = 3, at location: SourceLocation = #_sourceLocation,
    _ body: (ConnectionSettings) async throws -> Value
) async throws -> Value {
    let folder = "/tmp/koppeling-pooler-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let server = TestDatabase.current.settings
    var settings = ConnectionSettings(url: "host=\(folder) port=6432 user=koppeling", pooler: .transaction)
    settings.database = server.database
    switch pooling {
    case .standIn:
        let pooler = try TransactionPooler(to: server, in: folder, sessions: sessions)
        defer { pooler.stop() }
        let value = try await body(settings)
        let leftovers = try await blocking { try pooler.leftovers() }
        #expect(leftovers.isEmpty, "what a transaction left in its session", sourceLocation: location)
        return value
    case .pgBouncer:
        let pgBouncer = try await PgBouncer.start(to: server, in: folder, sessions: sessions)
        let result: Result<Value, any Error>
        do {
            try await eventually("PgBouncer's start", within: .seconds(20), at: location) {
                (try? await Connection.connect(settings)) != nil
            }
            result = .success(try await body(settings))
        } catch {
            result = .failure(error)
        }
        pgBouncer.send(SIGINT)
        if await !pgBouncer.ended(within: .seconds(10)) { pgBouncer.send(SIGKILL) }
        return try result.get()
    }
}

private enum PgBouncer {
    static let program: String? = {
        let environment = ProcessInfo.processInfo.environment
        let folders = (environment["PATH"] ?? "").split(separator: ":").map(String.init) + ["/usr/sbin"]
        let candidates = [environment["KOPPELING_PGBOUNCER"] ?? ""] + folders.map { $0 + "/pgbouncer" }
        return candidates.first { !$0.isEmpty && FileManager.default.isExecutableFile(atPath: $0) }
    }()

    static func start(
        to server: ConnectionSettings, in folder: String, sessions: Int
    ) async throws -> ChildProcess {
        let user = try ServerUser.find()
        let configuration = """
            [databases]
            \(server.database ?? "koppeling") = \(try server.connectionString())
            [pgbouncer]
            pool_mode = transaction
            default_pool_size = \(sessions)
            server_round_robin = 1
            max_client_conn = 200
            listen_port = 6432
            unix_socket_dir = \(folder)
            auth_type = any
            logfile = \(folder)/log
            """
        try Data(configuration.utf8).write(to: URL(filePath: folder + "/pgbouncer.ini"))
        user.own(folder)
        user.own(folder + "/pgbouncer.ini")
        let command = user.mortalCommand([program ?? "pgbouncer", folder + "/pgbouncer.ini"], signal: "INT")
        return try await ChildProcess.start(command, log: folder + "/output")
    }
}
