import FoundationEssentials
import Postgres
import TestSupport
import Testing

@Suite("The migrator", .emptyDatabase) struct MigratorTests {
    private let first = "create table first (id bigint primary key);"
    private let second = "create table second (id bigint primary key); insert into second values (1);"

    private func migrate(_ folder: Folder) async throws -> [String] {
        try await TestDatabase.current.pool.withConnection { connection in
            try await Migrator(directory: folder.path).migrate(connection)
        }
    }

    private func refusal(_ folder: Folder) async -> String {
        let error = await #expect(throws: PostgresError.self) { _ = try await migrate(folder) }
        #expect(error?.code == .schema)
        return error?.message ?? ""
    }

    @Test("applies the files in order, once") func once() async throws {
        let folder = try Folder(["0001_first.sql": first, "0002_second.sql": second, "schema.sql": "nonsense"])
        #expect(try await migrate(folder) == ["0001_first.sql", "0002_second.sql"])
        #expect(try await migrate(folder) == [])
        try folder.write("0003_third.sql", "alter table first add column name text;")
        #expect(try await migrate(folder) == ["0003_third.sql"])
    }

    @Test("may run many times at once, and each file runs once") func together() async throws {
        let folder = try Folder(["0001_first.sql": first, "0002_second.sql": second])
        let settings = TestDatabase.current.settings
        let applied = try await withThrowingTaskGroup(of: [String].self) { group in
            for _ in 0..<6 {
                group.addTask {
                    let connection = try await Connection.connect(settings)
                    return try await Migrator(directory: folder.path).migrate(connection)
                }
            }
            return try await group.reduce([], +)
        }
        #expect(applied.sorted() == ["0001_first.sql", "0002_second.sql"])
        #expect(try await TestDatabase.current.pool.query("select count(*) from second").scalar(as: Int.self) == 1)
    }

    @Test("refuses a file that was changed after it was applied, by name") func edited() async throws {
        let folder = try Folder(["0001_first.sql": first])
        _ = try await migrate(folder)
        try folder.write("0001_first.sql", first + " -- changed")
        #expect(await refusal(folder).contains("0001_first.sql was changed"))
    }

    @Test("lets a program be that is older than the database, and shows what is newer") func newer() async throws {
        let folder = try Folder(["0001_first.sql": first, "0002_second.sql": "-- oldest-program: 0001\n" + second])
        _ = try await migrate(folder)
        try folder.remove("0002_second.sql")
        #expect(try await migrate(folder) == [])
        try await TestDatabase.current.pool.withConnection { connection in
            let migrator = Migrator(directory: folder.path)
            try await migrator.check(connection)
            let status = try await migrator.status(connection)
            #expect(status.map(\.name) == ["0001_first.sql", "0002_second.sql"])
            #expect(status.map(\.isNewer) == [false, true])
        }
    }

    @Test("refuses a program that a newer file leaves behind, and says which it takes") func breaking() async throws {
        let third = "-- Takes away what 0001 made.\n-- oldest-program: 2\ndrop table first;"
        let folder = try Folder(["0001_first.sql": first, "0002_second.sql": second, "0003_third.sql": third])
        _ = try await migrate(folder)
        try folder.remove("0003_third.sql")
        #expect(try await migrate(folder) == [])
        try folder.remove("0002_second.sql")
        let message = await refusal(folder)
        #expect(message.contains("0003_third.sql") && message.contains("newer") && message.contains("file 2"))
    }

    @Test("refuses a file that names no oldest program", arguments: ["", "x", "0004", "-1"])
    func badMark(_ number: String) async throws {
        let folder = try Folder(["0003_third.sql": "-- oldest-program: \(number)\n" + first])
        #expect(await refusal(folder).contains("0003_third.sql"))
    }

    @Test("refuses when a file is missing that was applied") func missing() async throws {
        let folder = try Folder(["0001_first.sql": first, "0002_second.sql": second])
        _ = try await migrate(folder)
        try folder.remove("0001_first.sql")
        let message = await refusal(folder)
        #expect(message.contains("0001_first.sql") && message.contains("missing"))
    }

    @Test("refuses a new file that comes before one that was applied") func late() async throws {
        let folder = try Folder(["0002_second.sql": second])
        _ = try await migrate(folder)
        try folder.write("0001_first.sql", first)
        #expect(await refusal(folder).contains("0001_first.sql"))
    }

    @Test("refuses two files with one number, and a folder without files") func folders() async throws {
        let twice = try Folder(["0001_first.sql": first, "0001_second.sql": second])
        #expect(await refusal(twice).contains("0001_second.sql"))
        #expect(await refusal(try Folder([:])).contains("no SQL files"))
    }

    @Test("undoes a file that fails, names it, and keeps the ones before it") func failing() async throws {
        let folder = try Folder(["0001_first.sql": first, "0002_second.sql": second + " select nothing;"])
        let error = await #expect(throws: PostgresError.self) { _ = try await migrate(folder) }
        #expect(error?.message.hasPrefix("0002_second.sql: ") == true)
        #expect(error?.sqlState == "42703")
        try folder.write("0002_second.sql", second)
        #expect(try await migrate(folder) == ["0002_second.sql"])
    }

    @Test("refuses a file that ends its transaction") func commits() async throws {
        let folder = try Folder(["0001_first.sql": "commit;"])
        #expect(await refusal(folder).contains("0001_first.sql"))
    }

    @Test("tries again when something else holds a table") func locked() async throws {
        let folder = try Folder(["0001_first.sql": first])
        _ = try await migrate(folder)
        try folder.write("0002_more.sql", "alter table first add column name text;")
        let settings = TestDatabase.current.settings
        let holder = try await Connection.connect(settings)
        try await holder.script("begin; lock table first")
        let migration = Task {
            var migrator = Migrator(directory: folder.path)
            migrator.lockTimeout = .milliseconds(20)
            return try await migrator.migrate(try await Connection.connect(settings))
        }
        try await eventually {
            let waiting = try await holder.query(
                "select from pg_locks where not granted and relation = 'first'::regclass")
            return !waiting.isEmpty
        }
        try await holder.script("rollback")
        #expect(try await migration.value == ["0002_more.sql"])
    }

    @Test("lets nobody queue behind it for long while somebody else is in its way") func queueing() async throws {
        let folder = try Folder(["0001_first.sql": first])
        _ = try await migrate(folder)
        try folder.write("0002_more.sql", "alter table first add column name text;")
        let settings = TestDatabase.current.settings
        let holder = try await Connection.connect(settings)
        try await holder.script("begin; select from first")
        let migration = Task {
            try await Migrator(directory: folder.path).migrate(try await Connection.connect(settings))
        }
        var hurried = settings
        // Far more than the migrator may hold a place in the queue, and far less than the transaction in its way lasts.
        hurried.lockTimeout = .seconds(5)
        let reader = try await Connection.connect(hurried)
        let watch = Pool(settings, maximum: 1)
        for _ in 0..<3 {
            try await eventually("the migrator's wait") {
                try await !watch.query("select from pg_locks where not granted and relation = 'first'::regclass")
                    .isEmpty
            }
            // Stands behind the migrator, which gives way.
            #expect(try await reader.query("select from first").isEmpty)
        }
        try await holder.script("rollback")
        #expect(try await migration.value == ["0002_more.sql"])
        await watch.close()
    }

    @Test("gives up in the end and says who is in its way") func givesUp() async throws {
        let folder = try Folder(["0001_first.sql": first])
        _ = try await migrate(folder)
        try folder.write("0002_more.sql", "alter table first add column name text;")
        let settings = TestDatabase.current.settings
        let holder = try await Connection.connect(settings)
        try await holder.script("begin; lock table first")
        var migrator = Migrator(directory: folder.path)
        migrator.lockTimeout = .milliseconds(20)
        migrator.attempts = 2
        let connection = try await Connection.connect(settings)
        let error = await #expect(throws: PostgresError.self) { _ = try await migrator.migrate(connection) }
        #expect(error?.message.hasPrefix("0002_more.sql: ") == true)
        #expect(error?.message.contains("process \(holder.processID)") == true)
        #expect(error?.hint?.contains("koppeling migrate again") == true)
    }

    @Test("tells what is applied, and a program that starts on an older schema what to do") func status() async throws {
        let folder = try Folder(["0001_first.sql": first])
        _ = try await migrate(folder)
        try folder.write("0002_second.sql", second)
        try await TestDatabase.current.pool.withConnection { connection in
            let migrator = Migrator(directory: folder.path)
            let status = try await migrator.status(connection)
            #expect(status.map(\.isApplied) == [true, false])
            let error = await #expect(throws: PostgresError.self) { try await migrator.check(connection) }
            #expect(error?.message.contains("koppeling migrate") == true)
        }
    }
}

@Suite("The schema") struct SchemaTests {
    @Test("is the one that sql/schema.sql shows", .database) func file() async throws {
        try await expectSchemaFile()
    }
}

/// A folder with files, gone with its last user.
private final class Folder: Sendable {
    let path: String

    init(_ files: [String: String]) throws {
        path = "/tmp/koppeling-files-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        for (name, text) in files { try write(name, text) }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    func write(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(filePath: path + "/" + name))
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: path + "/" + name)
    }
}
