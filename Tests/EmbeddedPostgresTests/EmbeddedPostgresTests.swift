import EmbeddedPostgres
import FoundationEssentials
import Glibc
import Logging
import Postgres
import TestSupport
import Testing

private let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

@Suite("The embedded PostgreSQL") struct EmbeddedPostgresTests {
    @Test("keeps what was committed when it is stopped and started again") func restart() async throws {
        let folder = try Folder()
        let first = EmbeddedPostgres(directory: folder.path, logger: silent)
        try await put(1, try await first.start())
        await first.stop()
        let second = EmbeddedPostgres(directory: folder.path, logger: silent)
        let settings = try await second.start()
        try await put(2, settings)
        #expect(try await numbers(settings) == [1, 2])
        let facts = try await Connection.connect(settings).query(
            """
            select current_setting('server_encoding') as encoding, current_setting('listen_addresses') as addresses,
                current_setting('fsync') as fsync, current_setting('max_connections') as connections,
                (select datctype from pg_database where datname = current_database()) as locale
            """)
        #expect(try facts[0].decode("encoding", as: String.self) == "UTF8")
        #expect(try facts[0].decode("addresses", as: String.self).isEmpty)
        #expect(try facts[0].decode("fsync", as: String.self) == "on")
        #expect(try facts[0].decode("connections", as: String.self) == "200")
        #expect(try facts[0].decode("locale", as: String.self) == "C.UTF-8")
        await second.stop()
    }

    @Test("dies with a program that is killed, and starts again with everything that was committed") func killed()
        async throws
    {
        let folder = try Folder()
        let path = folder.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            let postgres = EmbeddedPostgres(directory: path, logger: silent)
            try await put(1, try await postgres.start())
            kill(getpid(), SIGKILL)
        }
        let postgres = EmbeddedPostgres(directory: path, logger: silent)
        let settings = try await postgres.start()
        #expect(try await numbers(settings) == [1])
        await postgres.stop()
    }

    @Test("is gone soon after its program was killed") func gone() async throws {
        let folder = try Folder()
        let path = folder.path
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = path as String] in
            _ = try await EmbeddedPostgres(directory: path, durable: false, logger: silent).start()
            guard !serverProcesses(path).isEmpty else { exit(EXIT_FAILURE) }
            kill(getpid(), SIGKILL)
        }
        try await eventually("the end of the server") { serverProcesses(path).isEmpty }
    }

    @Test("survives its own death: a killed server is started again from its folder") func killedServer() async throws {
        let folder = try Folder()
        let first = EmbeddedPostgres(directory: folder.path, logger: silent)
        let settings = try await first.start()
        try await put(1, settings)
        let file = try #require(FileManager.default.contents(atPath: folder.path + "/data/postmaster.pid"))
        let pid = try #require(pid_t(String(decoding: file, as: UTF8.self).prefix { $0.isNumber }))
        kill(pid, SIGKILL)
        await first.stop()
        // What it left names a process that lives, as happens when numbers are used again.
        let stale = String(decoding: file, as: UTF8.self).replacing("\(pid)", with: "\(getpid())")
        try Data(stale.utf8).write(to: URL(filePath: folder.path + "/data/postmaster.pid"))
        let second = EmbeddedPostgres(directory: folder.path, logger: silent)
        #expect(try await numbers(try await second.start()) == [1])
        await second.stop()
    }

    @Test("refuses a second program on the same folder, in one line") func second() async throws {
        let folder = try Folder()
        let first = EmbeddedPostgres(directory: folder.path, durable: false, logger: silent)
        _ = try await first.start()
        let second = EmbeddedPostgres(directory: folder.path, durable: false, logger: silent)
        let error = await #expect(throws: EmbeddedPostgresError.self) { _ = try await second.start() }
        #expect(error?.code == .inUse)
        #expect(error?.message.contains(folder.path) == true)
        await first.stop()
    }

    @Test("puts its socket elsewhere when the folder's path is too long for one") func longPath() async throws {
        let folder = try Folder(name: String(repeating: "long", count: 40))
        let postgres = EmbeddedPostgres(directory: folder.path, durable: false, logger: silent)
        let settings = try await postgres.start()
        #expect(!settings.url.contains("longlong"))
        try await put(1, settings)
        await postgres.stop()
    }

    @Test("refuses a folder that holds something else, and touches nothing") func foreignFolder() async throws {
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: false)
        try Data("mine".utf8).write(to: URL(filePath: folder.path + "/letter"))
        let postgres = EmbeddedPostgres(directory: folder.path, logger: silent)
        let error = await #expect(throws: EmbeddedPostgresError.self) { _ = try await postgres.start() }
        #expect(error?.code == .folder)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["letter"])
    }

    @Test("says so when its user cannot reach the folder", .enabled(if: geteuid() == 0)) func unreachable() async throws
    {
        let folder = try Folder()
        try FileManager.default.createDirectory(atPath: folder.path, withIntermediateDirectories: false)
        chmod(folder.path, 0o700)
        let postgres = EmbeddedPostgres(directory: folder.path + "/inside", logger: silent)
        let error = await #expect(throws: EmbeddedPostgresError.self) { _ = try await postgres.start() }
        #expect(error?.code == .folder)
        #expect(error?.message.contains("user postgres") == true)
    }
}

/// The processes that work in the folder of the data: the server and its helpers.
private func serverProcesses(_ path: String) -> [String] {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.filter { process in
        let folder = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/cwd")
        return folder == path + "/data"
    }
}

private func put(_ number: Int, _ settings: ConnectionSettings) async throws {
    let connection = try await Connection.connect(settings)
    try await connection.script("create table if not exists kept (n bigint)")
    try await connection.execute("insert into kept values (\(number))")
}

private func numbers(_ settings: ConnectionSettings) async throws -> [Int] {
    try await Connection.connect(settings).query("select n from kept order by n")
        .map { row throws(PostgresError) in try row.decode("n") }
}

/// A path for a cluster, removed with its last user.
private final class Folder: Sendable {
    let path: String

    init(name: String = "cluster") throws {
        path = "/tmp/koppeling-\(name)-\(UInt32.random(in: 0...UInt32.max))"
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
