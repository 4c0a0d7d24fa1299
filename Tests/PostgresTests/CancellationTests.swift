import IO
import Postgres
import TestSupport
import Testing

@Suite("Cancellation", .emptyDatabase) struct CancellationTests {
    @Test("ends a long statement and leaves the connection usable") func reuse() async throws {
        let database = TestDatabase.current
        let task = Task {
            let connection = try await Connection.connect(database.settings)
            let process = connection.processID
            let error = await #expect(throws: PostgresError.self) { try await connection.query("select pg_sleep(300)") }
            // A task of its own, because this one stays cancelled.
            return (error, process, Lent(connection))
        }
        try await untilSleeping(database)
        task.cancel()
        let (error, process, lent) = try await task.value
        #expect(error?.code == .cancelled)
        #expect(try await lent.connection.query("select pg_backend_pid()").scalar(as: Int32.self) == process)
    }

    @Test("never hits the next statement, however often and whenever it comes") func storm() async throws {
        var seed = Seed()
        let pool = TestDatabase.current.pool
        for _ in 0..<100 {
            let sleep = Double.random(in: 0...0.004, using: &seed)
            let task = Task { try await pool.query("select pg_sleep(\(sleep)::float8)") }
            try await pool.query("select pg_sleep(\(Double.random(in: 0...0.004, using: &seed))::float8)")
            task.cancel()
            do {
                _ = try await task.value
            } catch let error as PostgresError {
                #expect(error.code == .cancelled)
            }
            #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
        }
        #expect(pool.counts.open <= 2)
    }

    @Test("before a statement is sent sends nothing") func before() async throws {
        let pool = TestDatabase.current.pool
        try await pool.script("create table mark (n int)")
        let leased = Meeting(2)
        let cancelled = Meeting(2)
        let task = Task {
            try await pool.withConnection { connection in
                await leased.arrive()
                await cancelled.arrive()
                try await connection.execute("insert into mark values (1)")
            }
        }
        await leased.arrive()
        task.cancel()
        await cancelled.arrive()
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(try await pool.query("select count(*) from mark").scalar(as: Int.self) == 0)
    }

    @Test("rolls a transaction back") func transaction() async throws {
        let database = TestDatabase.current
        try await database.pool.script("create table mark (n int)")
        let task = Task {
            try await database.pool.transaction { connection in
                try await connection.execute("insert into mark values (1)")
                try await connection.query("select pg_sleep(300)")
            }
        }
        try await untilSleeping(database)
        task.cancel()
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(try await database.pool.query("select count(*) from mark").scalar(as: Int.self) == 0)
    }

    @Test("ends a wait for a connection, and no place is lost") func waiting() async throws {
        let database = TestDatabase.current
        let pool = Pool(database.settings, maximum: 1)
        let meeting = Meeting(2)
        let holder = Task { try await pool.withConnection { _ in await meeting.arrive() } }
        try await eventually { pool.counts.open == 1 && pool.counts.idle == 0 }
        let waiter = Task { try await pool.query("select 1") }
        waiter.cancel()
        let error = await #expect(throws: PostgresError.self) { try await waiter.value }
        #expect(error?.code == .cancelled)
        await meeting.arrive()
        try await holder.value
        #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
        await pool.close()
    }

    @Test("does not wait for a host that never answers") func connecting() async throws {
        // A listening socket whose queue nobody empties: the connection is made, the answer never comes.
        let silent = try SilentServer()
        let settings = ConnectionSettings(
            url: "host=127.0.0.1 port=\(silent.port) user=me dbname=none", connectTimeout: .seconds(60))
        let task = Task { _ = try await Connection.connect(settings) }
        let clock = ContinuousClock.now
        task.cancel()
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.code == .cancelled)
        #expect(clock.duration(to: .now) < .seconds(20))
    }
}

@Suite("A time limit", .emptyDatabase) struct TimeLimitTests {
    @Test("on statements ends a long one, and the connection stays") func statement() async throws {
        var settings = TestDatabase.current.settings
        settings.statementTimeout = .milliseconds(50)
        let connection = try await Connection.connect(settings)
        let error = await #expect(throws: PostgresError.self) { try await connection.query("select pg_sleep(300)") }
        #expect(error?.code == .timeout)
        #expect(error?.sqlState == "57014")
        #expect(try await connection.query("select 1").scalar(as: Int.self) == 1)
    }

    @Test("on locks is retryable") func lock() async throws {
        let database = TestDatabase.current
        try await database.pool.script("create table item (n int)")
        var settings = database.settings
        settings.lockTimeout = .milliseconds(50)
        let other = try await Connection.connect(settings)
        try await database.pool.transaction { connection in
            try await connection.script("lock table item")
            let error = await #expect(throws: PostgresError.self) { try await other.query("select * from item") }
            #expect(error?.code == .timeout)
            #expect(error?.isRetryable == true)
        }
    }

    @Test("on idle transactions makes the server end the connection, which the next statement reports") func idle()
        async throws
    {
        let database = TestDatabase.current
        var settings = database.settings
        settings.idleInTransactionTimeout = .milliseconds(50)
        let connection = try await Connection.connect(settings)
        let error = await #expect(throws: PostgresError.self) {
            try await connection.transaction { connection in
                let process = connection.processID
                try await eventually {
                    try await database.pool.query("select from pg_stat_activity where pid = \(process)").isEmpty
                }
                try await connection.query("select 1")
            }
        }
        #expect(error?.sqlState == "25P03" || error?.code == .connection)
        #expect(!connection.isUsable)
    }
}

/// Carries a connection from the task that made it, which has ended, to the next.
// Sendable because the task that made it returns it and does nothing more.
private struct Lent: @unchecked Sendable {
    let connection: Connection

    init(_ connection: Connection) {
        self.connection = connection
    }
}

/// Waits until some session of the database sleeps in the server.
private func untilSleeping(_ database: TestDatabase) async throws {
    try await eventually {
        let rows = try await database.pool.query(
            "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'")
        return !rows.isEmpty
    }
}
