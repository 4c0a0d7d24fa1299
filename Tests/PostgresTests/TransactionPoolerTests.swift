import FoundationEssentials
import Postgres
import TestSupport
import Testing

@Suite("Through a pooler in transaction mode", .emptyDatabase) struct TransactionPoolerTests {
    @Test("statements, transactions and copies work", arguments: Pooling.available)
    func everything(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { settings in
            let pool = Pool(settings, maximum: 8)
            try await pool.script("create table item (n int, name text)")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<8 {
                    group.addTask {
                        for number in 0..<20 {
                            try await pool.execute("insert into item values (\(Int32(number))::int, \("a")::text)")
                            try await pool.transaction { connection in
                                let own: Int32 = try await connection.query("select pg_backend_pid()").scalar()
                                try await connection.execute("insert into item values (\(Int32(task))::int, 'b')")
                                let error = await #expect(throws: PostgresError.self) {
                                    try await connection.transaction { try await $0.query("select 1 / \(0)") }
                                }
                                #expect(error?.sqlState == "22012")
                                #expect(try await connection.query("select pg_backend_pid()").scalar() == own)
                            }
                        }
                        try await pool.withConnection { connection in
                            try await connection.copyIn("copy item from stdin") { writer in
                                for number in 0..<1000 { try await writer.write(row: ["\(number)", "c"]) }
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let counts = try await pool.query("select name, count(*) from item group by name order by name")
            #expect(try counts.map { try $0.decode(1, as: Int64.self) } == [160, 160, 8000])
            await pool.close()
        }
    }

    @Test("the limit on statements is kept, and a cancelled one ends", arguments: Pooling.available)
    func limits(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { settings in
            var limited = settings
            limited.statementTimeout = .milliseconds(200)
            let connection = try await Connection.connect(limited)
            let error = await #expect(throws: PostgresError.self) { try await connection.query("select pg_sleep(300)") }
            #expect(error?.code == .timeout)
            #expect(try await connection.query("select 1").scalar(as: Int.self) == 1)
            let task = Task { try await Connection.connect(settings).query("select pg_sleep(300)") }
            try await eventually {
                let sleeping = try await connection.query(
                    "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'")
                return !sleeping.isEmpty
            }
            task.cancel()
            let cancelled = await #expect(throws: PostgresError.self) { _ = try await task.value }
            #expect(cancelled?.code == .cancelled)
        }
    }

    @Test("the schema can be migrated", arguments: Pooling.available) func migrates(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { settings in
            let connection = try await Connection.connect(settings)
            let migrator = try Migrator.locate()
            #expect(try await !migrator.migrate(connection).isEmpty)
            try await migrator.check(connection)
        }
    }

    @Test("nobody listens, and one that was not told of the pooler says what to set", arguments: Pooling.available)
    func refusals(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { settings in
            let connection = try await Connection.connect(settings)
            let listening = await #expect(throws: PostgresError.self) { try await connection.listen("news") }
            #expect(listening?.code == .usage)
            var untold = settings
            untold.pooler = .none
            let error = await #expect(throws: PostgresError.self) { _ = try await Connection.connect(untold) }
            #expect(error?.hint?.contains("KOPPELING_POOLER") == true)
        }
    }
}
