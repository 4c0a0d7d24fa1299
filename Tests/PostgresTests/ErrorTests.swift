import Postgres
import TestSupport
import Testing

@Suite("An error", .emptyDatabase) struct ErrorTests {
    @Test("of the server carries its code, constraint, table and detail, and shows no data") func fields() async throws
    {
        let pool = TestDatabase.current.pool
        try await pool.script("create table person (address text constraint one_address unique)")
        try await pool.execute("insert into person values (\("a@example.org"))")
        let error = try #require(
            await #expect(throws: PostgresError.self) {
                try await pool.execute("insert into person values (\("a@example.org"))")
            })
        #expect(error.code == .server)
        #expect(error.sqlState == "23505")
        #expect(error.constraint == "one_address")
        #expect(error.table == "person")
        #expect(error.detail?.contains("a@example.org") == true)
        #expect(!"\(error)".contains("a@example.org"))
        #expect(!error.isRetryable)
    }

    @Test("in a statement leaves the connection usable") func usable() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            await #expect(throws: PostgresError.self) { try await connection.query("selec 1") }
            await #expect(throws: PostgresError.self) { try await connection.query("select 1/\(0)") }
            await #expect(throws: PostgresError.self) { try await connection.script("select 1; select nothing") }
            let one: Int = try await connection.query("select 1").scalar()
            #expect(one == 1)
        }
    }

    @Test("of a deadlock is retryable") func deadlock() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table item (id int primary key, n int); insert into item values (1, 0), (2, 0)")
        let failures = await withTaskGroup(of: PostgresError?.self, returning: [PostgresError].self) { group in
            let meeting = Meeting(2)
            for order in [[1, 2], [2, 1]] {
                group.addTask {
                    do {
                        try await pool.transaction { connection in
                            try await connection.script("set local deadlock_timeout = '50ms'")
                            try await connection.execute("update item set n = n + 1 where id = \(order[0])")
                            await meeting.arrive()
                            try await connection.execute("update item set n = n + 1 where id = \(order[1])")
                        }
                        return nil
                    } catch {
                        return error as? PostgresError
                    }
                }
            }
            return await group.reduce(into: []) { failures, failure in if let failure { failures.append(failure) } }
        }
        #expect(failures.map(\.sqlState) == ["40P01"])
        #expect(failures.allSatisfy { $0.isRetryable })
    }

    @Test("of a server that is not there is one line, and retryable") func unreachable() async throws {
        let settings = ConnectionSettings(url: "host=/nowhere/at/all user=nobody dbname=none")
        let error = await #expect(throws: PostgresError.self) { _ = try await Connection.connect(settings) }
        #expect(error?.code == .connection)
        #expect(error?.isRetryable == true)
        #expect(error?.message.contains("\n") == false)
    }

    @Test("in a connection string does not show the string, which may hold a password") func badURL() async throws {
        let settings = ConnectionSettings(url: "postgresql://me:secret@host:port%%/x")
        let error = await #expect(throws: PostgresError.self) { _ = try await Connection.connect(settings) }
        #expect(error?.code == .usage)
        #expect(error.map { "\($0)".contains("secret") } == false)
        #expect(!"\(settings)".contains("secret"))
    }

    @Test("is reported when a COPY is sent as a query") func copyAsQuery() async throws {
        let pool = TestDatabase.current.pool
        let error = await #expect(throws: PostgresError.self) { try await pool.query("copy (select 1) to stdout") }
        #expect(error?.code == .usage)
        #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
    }
}
