import Glibc
import IO
import Postgres
import TestSupport
import Testing

@Suite("A pool", .emptyDatabase) struct PoolTests {
    @Test("opens no more connections than its maximum, and serves everybody") func bounded() async throws {
        let pool = Pool(TestDatabase.current.settings, maximum: 3)
        let most = Locked(0)
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<60 {
                group.addTask {
                    try await pool.withConnection { connection in
                        most.withLock { $0 = max($0, pool.counts.open) }
                        return try await connection.query("select \(number)").scalar()
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == (0..<60).reduce(0, +))
        #expect(most.withLock { $0 } == 3)
        #expect(pool.counts.idle == 3)
        await pool.close()
    }

    @Test("replaces connections that the server ended while they were idle") func replacesIdle() async throws {
        let database = TestDatabase.current
        let pool = Pool(database.settings, maximum: 1)
        let first: Int32 = try await pool.query("select pg_backend_pid()").scalar()
        try await database.pool.query("select pg_terminate_backend(\(first))")
        // It leaves the view of activity before its end of the connection closes.
        try await eventually("the end of the server process") { kill(first, 0) == -1 && errno == ESRCH }
        let second: Int32 = try await pool.query("select pg_backend_pid()").scalar()
        #expect(first != second)
        #expect(pool.counts.open == 1)
        await pool.close()
    }

    @Test("replaces a connection that was ended in the middle of a statement") func replacesBusy() async throws {
        let database = TestDatabase.current
        let pool = Pool(database.settings, maximum: 1)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.query("select pg_terminate_backend(pg_backend_pid()), pg_sleep(300)")
        }
        #expect(error?.code == .connection)
        #expect(error?.isRetryable == true)
        #expect(pool.counts.open == 0)
        #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
        await pool.close()
    }

    @Test("says how to help it when no connection comes free in time") func patience() async throws {
        let pool = Pool(TestDatabase.current.settings, maximum: 1, patience: .milliseconds(30))
        try await pool.withConnection { _ in
            let error = await #expect(throws: PostgresError.self) { try await pool.query("select 1") }
            #expect(error?.code == .timeout)
            #expect(error?.message.contains("1 connections") == true)
        }
        #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
        await pool.close()
    }

    @Test("hands the place of a failed attempt to the next in line") func failedAttempts() async throws {
        let settings = TestDatabase.current.settings.with(database: "no such database")
        let pool = Pool(settings, maximum: 1)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<5 {
                group.addTask {
                    let error = await #expect(throws: PostgresError.self) { try await pool.query("select 1") }
                    #expect(error?.code == .connection)
                }
            }
        }
        #expect(pool.counts.open == 0)
        await pool.close()
    }

    @Test("that is closed waits for what is leased and refuses the rest") func closing() async throws {
        let pool = Pool(TestDatabase.current.settings, maximum: 1)
        let entered = Meeting(2)
        let leave = Meeting(2)
        let holder = Task {
            try await pool.withConnection { connection in
                await entered.arrive()
                await leave.arrive()
                return try await connection.query("select 1").scalar(as: Int.self)
            }
        }
        await entered.arrive()
        let closer = Task { await pool.close() }
        try await eventually {
            do {
                _ = try await Task { try await pool.query("select 2") }.value
                return false
            } catch let error as PostgresError {
                return error.code == .usage
            }
        }
        await leave.arrive()
        #expect(try await holder.value == 1)
        await closer.value
        #expect(pool.counts.open == 0)
    }
}

@Suite("Prepared statements", .emptyDatabase) struct StatementTests {
    @Test("are prepared again when the type of their result changed") func changedResult() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            try await connection.script("create table item (id int); insert into item values (1)")
            func read() async throws -> Int { try await connection.query("select * from item").scalar() }
            #expect(try await read() == 1)
            try await connection.script("alter table item alter column id type bigint")
            #expect(try await read() == 1)
            try await connection.script("deallocate all")
            #expect(try await read() == 1)
        }
    }

    @Test("are kept in bounded number") func bounded() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            for number in 0..<600 {
                #expect(try await connection.query("select \(unsafe: "\(number)")").scalar(as: Int.self) == number)
            }
            let kept: Int = try await connection.query("select count(*) from pg_prepared_statements").scalar()
            #expect(kept <= 256)
        }
    }

    @Test("that became stale in a transaction make it worth another try") func staleInTransaction() async throws {
        let database = TestDatabase.current
        try await database.pool.withConnection { connection in
            try await connection.script("create table item (id int); insert into item values (1)")
            func read() async throws -> Int {
                try await connection.transaction { try await $0.query("select * from item").scalar() }
            }
            #expect(try await read() == 1)
            try await connection.script("alter table item alter column id type bigint")
            let error = await #expect(throws: PostgresError.self) { _ = try await read() }
            #expect(error?.isRetryable == true)
            #expect(try await read() == 1)
        }
    }

    @Test("with the same text and other types are kept apart") func types() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            let number: Int = try await connection.query("select \(1)").scalar()
            let text: String = try await connection.query("select \("one")").scalar()
            #expect(number == 1 && text == "one")
        }
    }

    @Test("are not used where a pooler would lose them") func unnamed() async throws {
        var settings = TestDatabase.current.settings
        settings.pooler = .transaction
        let connection = try await Connection.connect(settings)
        for number in 0..<3 { #expect(try await connection.query("select \(number)").scalar(as: Int.self) == number) }
        #expect(try await connection.query("select count(*) from pg_prepared_statements").scalar(as: Int.self) == 0)
    }
}
