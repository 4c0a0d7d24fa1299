import Glibc
import IO
import Postgres
import TestSupport
import Testing

@Suite("A server that says nothing more", .emptyDatabase) struct SilenceTests {
    private func limited(_ time: Duration) -> ConnectionSettings {
        var settings = TestDatabase.current.settings
        settings.statementTimeout = time
        return settings
    }

    /// Holds the server process still while the body runs, as a host does whose power is gone.
    private func frozen<Value>(_ process: Int32, _ body: () async throws -> Value) async throws -> Value {
        try #require(kill(process, SIGSTOP) == 0)
        defer { kill(process, SIGCONT) }
        return try await body()
    }

    @Test("is given up some time after the longest that a statement may take") func statement() async throws {
        let connection = try await Connection.connect(limited(.milliseconds(100)))
        let start = ContinuousClock.now
        let error = try await frozen(connection.processID) {
            await #expect(throws: PostgresError.self) { try await connection.query("select 1") }
        }
        #expect(error?.code == .connection)
        #expect(error?.isRetryable == true)
        #expect(!connection.isUsable)
        #expect(start.duration(to: .now) < .seconds(20))
    }

    @Test("is waited for as long as it takes when the limit is lifted, for that transaction") func lifted() async throws
    {
        let connection = try await Connection.connect(limited(.milliseconds(100)))
        try await connection.transaction { connection in
            try await connection.liftTimeLimit()
            try await connection.query("select pg_sleep(0.3)")
        }
        let error = await #expect(throws: PostgresError.self) { try await connection.query("select pg_sleep(300)") }
        #expect(error?.code == .timeout)
        let misuse = await #expect(throws: PostgresError.self) { try await connection.liftTimeLimit() }
        #expect(misuse?.code == .usage)
    }

    @Test("and leaves a cut-off commit unknown") func commit() async throws {
        let connection = try await Connection.connect(limited(.milliseconds(100)))
        let process = connection.processID
        let error = await #expect(throws: PostgresError.self) {
            try await connection.transaction { connection in
                try await connection.query("select 1")
                try #require(kill(process, SIGSTOP) == 0)
            }
        }
        kill(process, SIGCONT)
        #expect(error?.code == .commitUnknown)
    }

    @Test("is noticed by a connection that only listens, when it asks") func listening() async throws {
        let listener = try await Connection.connect(TestDatabase.current.settings)
        try await listener.listen("news")
        try await listener.verify()
        let error = try await frozen(listener.processID) {
            await #expect(throws: PostgresError.self) { try await listener.verify(within: .milliseconds(50)) }
        }
        #expect(error?.code == .connection)
        #expect(!listener.isUsable)
    }

    @Test("does not keep a cancelled task waiting") func cancelled() async throws {
        // It takes the connection for the request to cancel, and says nothing.
        let settings = TestDatabase.current.settings
        let relay = try SilentRelay(to: settings)
        let task = Task {
            try await Connection.connect(relay.settings).query("select pg_sleep(300)")
        }
        try await eventually {
            let sleeping = try await TestDatabase.current.pool.query(
                "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'")
            return !sleeping.isEmpty
        }
        defer { relay.end() }
        relay.fallSilent()
        let start = ContinuousClock.now
        task.cancel()
        let error = await #expect(throws: PostgresError.self) { _ = try await task.value }
        #expect(error?.code == .connection)
        #expect(start.duration(to: .now) < .seconds(30))
    }
}

@Suite("A client that is gone", .emptyDatabase) struct GoneClientTests {
    @Test("does not leave its statement running") func statement() async throws {
        let database = TestDatabase.current
        let relay = try SilentRelay(to: database.settings)
        let task = Task { try await Connection.connect(relay.settings).query("select pg_sleep(300)") }
        let isSleeping: Query = """
            select exists (
                select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep')
            """
        try await eventually { try await database.pool.query(isSleeping).scalar() }
        relay.end()
        await #expect(throws: PostgresError.self) { _ = try await task.value }
        try await eventually("the end of the statement", within: .seconds(30)) {
            try await !database.pool.query(isSleeping).scalar(as: Bool.self)
        }
    }

    @Test("is looked for by the server, over TCP") func settings() async throws {
        let names = "tcp_keepalives_idle,client_connection_check_interval,idle_in_transaction_session_timeout"
        let row = try #require(
            try await TestDatabase.current.pool.query(
                """
                select array_agg(s.name || '=' || s.reset_val order by s.name) as settings
                from pg_settings s
                where s.name = any(string_to_array(\(names), ','))
                """
            ).first)
        let settings: [String] = try row.decode("settings")
        #expect(settings.contains("client_connection_check_interval=10000"))
        #expect(settings.contains("idle_in_transaction_session_timeout=30000"))
        #expect(settings.contains("tcp_keepalives_idle=30"))
    }
}

@Suite("A server that takes no writes", .emptyDatabase) struct ReadOnlyTests {
    @Test("loses its connections when one has found out") func refused() async throws {
        let database = TestDatabase.current
        let pool = Pool(database.settings, maximum: 2)
        try await pool.script("create table item (n int)")
        let before: Int32 = try await pool.query("select pg_backend_pid()").scalar()
        try await pool.script("set session characteristics as transaction read only")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.execute("insert into item values (1)")
        }
        #expect(error?.code == .connection)
        #expect(error?.isRetryable == true)
        #expect(error?.hint?.contains("DATABASE_URL") == true)
        try await pool.execute("insert into item values (2)")
        #expect(try await pool.query("select pg_backend_pid()").scalar(as: Int32.self) != before)
        await pool.close()
    }

    @Test("is left with the first answer, also to a read, when one that takes writes is wanted") func left()
        async throws
    {
        var settings = TestDatabase.current.settings
        settings.url += " target_session_attrs=read-write"
        let pool = Pool(settings, maximum: 1)
        let before: Int32 = try await pool.query("select pg_backend_pid()").scalar()
        try await pool.script("set default_transaction_read_only = on")
        #expect(pool.counts.open == 0)
        #expect(try await pool.query("select pg_backend_pid()").scalar(as: Int32.self) != before)
        await pool.close()
        let listener = try await Connection.connect(settings)
        try await listener.script("set default_transaction_read_only = on")
        await #expect(throws: PostgresError.self) { try await listener.verify() }
    }

    @Test("gets none back of those that were lent meanwhile") func lent() async throws {
        var settings = TestDatabase.current.settings
        settings.url += " target_session_attrs=read-write"
        let pool = Pool(settings, maximum: 3)
        try await pool.withConnection { early in
            try await early.query("select 1")
            try await pool.script("set default_transaction_read_only = on")
            #expect(pool.counts.open == 1)
            #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
        }
        // The one that was opened since.
        #expect(pool.counts.open == 1)
        await pool.close()
    }

    @Test("serves those who only read") func reading() async throws {
        let pool = Pool(TestDatabase.current.settings, maximum: 1)
        try await pool.script("set default_transaction_read_only = on")
        #expect(try await pool.query("show default_transaction_read_only").scalar(as: String.self) == "on")
        await pool.close()
    }
}
