import Postgres
import TestSupport
import Testing

@Suite("A transaction", .emptyDatabase) struct TransactionTests {
    struct Refused: Error {}

    private func marks(_ pool: Pool) async throws -> [Int] {
        try await pool.query("select n from mark order by n").map { row throws(PostgresError) in try row.decode("n") }
    }

    @Test("is committed when its body returns, and its value comes back") func commit() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n bigint)")
        let value = try await pool.transaction { connection in
            try await connection.execute("insert into mark values (\(1))")
            #expect(connection.isInTransaction)
            return "value"
        }
        #expect(value == "value")
        #expect(try await marks(pool) == [1])
    }

    @Test("is rolled back when its body throws, and the error is the body's") func rollback() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n bigint)")
        await #expect(throws: Refused.self) {
            try await pool.transaction { connection in
                try await connection.execute("insert into mark values (\(1))")
                throw Refused()
            }
        }
        #expect(try await marks(pool).isEmpty)
        #expect(pool.counts.idle == pool.counts.open)
    }

    @Test("inside another is a savepoint: a throw undoes the inner work only") func savepoint() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n bigint primary key)")
        try await pool.transaction { connection in
            try await connection.execute("insert into mark values (\(1))")
            await #expect(throws: Refused.self) {
                try await connection.transaction { connection in
                    try await connection.execute("insert into mark values (\(2))")
                    throw Refused()
                }
            }
            let error = await #expect(throws: PostgresError.self) {
                try await connection.transaction { connection in
                    try await connection.transaction { connection in
                        try await connection.execute("insert into mark values (\(3))")
                    }
                    try await connection.execute("insert into mark values (\(1))")
                }
            }
            #expect(error?.sqlState == "23505")
            try await connection.transaction { connection in
                try await connection.execute("insert into mark values (\(4))")
            }
        }
        #expect(try await marks(pool) == [1, 4])
    }

    @Test("whose failed statement was swallowed says so instead of pretending to commit") func swallowed() async throws
    {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n bigint)")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { connection in
                try await connection.execute("insert into mark values (\(1))")
                _ = try? await connection.query("select nothing")
            }
        }
        #expect(error?.code == .usage)
        #expect(try await marks(pool).isEmpty)
    }

    @Test("that fails at its commit is rolled back and says why") func deferred() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n bigint unique deferrable initially deferred)")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { connection in
                try await connection.execute("insert into mark values (1), (1)")
            }
        }
        #expect(error?.sqlState == "23505")
        #expect(try await marks(pool).isEmpty)
    }

    @Test("whose connection is lost during the commit is reported as unknown") func unknown() async throws {
        let database = TestDatabase.current
        try await database.pool.script(
            """
            create table mark (n bigint);
            create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(300); return null; end $$;
            create constraint trigger dawdle after insert on mark deferrable initially deferred
                for each row execute function dawdle();
            """)
        let task = Task {
            try await database.pool.transaction { connection in
                try await connection.execute("insert into mark values (1)")
            }
        }
        try await eventually {
            let killed = try await database.pool.query(
                """
                select pg_terminate_backend(pid) from pg_stat_activity
                where datname = current_database() and wait_event = 'PgSleep'
                """)
            return !killed.isEmpty
        }
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.code == .commitUnknown)
        #expect(error?.isRetryable == false)
    }

    @Test("begun by a statement is refused, since nobody would end it") func begun() async throws {
        let pool = TestDatabase.current.pool
        let error = await #expect(throws: PostgresError.self) {
            try await pool.withConnection { connection in
                try await connection.script("begin")
                try await connection.transaction { _ in }
            }
        }
        #expect(error?.code == .usage)
        #expect(pool.counts.open == 0, "a connection that comes back in a transaction is not lent again")
    }

    @Test("sees what its isolation level promises") func isolation() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n bigint)")
        try await pool.transaction(.repeatableRead) { connection in
            #expect(try await connection.query("select count(*) from mark").scalar(as: Int.self) == 0)
            try await pool.execute("insert into mark values (1)")
            #expect(try await connection.query("select count(*) from mark").scalar(as: Int.self) == 0)
        }
    }
}
