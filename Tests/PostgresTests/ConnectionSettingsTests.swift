import Postgres
import TestSupport
import Testing

@Suite("Connection settings") struct ConnectionSettingsTests {
    @Test("describe themselves without the password") func description() {
        let settings = ConnectionSettings(url: "postgresql://me:secret@db.example:5433/app?sslmode=require")
        #expect("\(settings)" == "host=db.example port=5433 user=me dbname=app")
        #expect("\(settings.with(database: "other"))" == "host=db.example port=5433 user=me dbname=other")
    }

    @Test("make a connection string that quotes what needs it") func connectionString() throws {
        let settings = ConnectionSettings(url: #"host='/tmp/it\'s here' user=me"#).with(database: #"a\b"#)
        #expect(try settings.connectionString() == #"dbname='a\\b' host='/tmp/it\'s here' user='me'"#)
    }

    @Test("may name several hosts, of which the first that answers and fits is taken", .emptyDatabase) func hosts()
        async throws
    {
        let live = try TestDatabase.current.settings.connectionString()
        let several = live.replacing("host='", with: "host='/nowhere/at/all,").replacing(
            "port='5432'", with: "port='5432,5432'")
        let connection = try await Connection.connect(
            ConnectionSettings(url: several + " target_session_attrs=read-write"))
        #expect(try await connection.query("select 1").scalar(as: Int.self) == 1)
        let standby = ConnectionSettings(url: several + " target_session_attrs=standby")
        let error = await #expect(throws: PostgresError.self) { _ = try await Connection.connect(standby) }
        #expect(error?.code == .connection)
    }

    @Test("reach the server: the name and the limits of a session", .emptyDatabase) func session() async throws {
        var settings = TestDatabase.current.settings
        settings.applicationName = "a test"
        settings.statementTimeout = .seconds(7)
        settings.lockTimeout = .seconds(3)
        let row = try #require(
            try await Connection.connect(settings).query(
                """
                select current_setting('application_name') as name, current_setting('statement_timeout') as statement,
                    current_setting('lock_timeout') as lock
                """
            ).first)
        #expect(try row.decode("name", as: String.self) == "a test")
        #expect(try row.decode("statement", as: String.self) == "7s")
        #expect(try row.decode("lock", as: String.self) == "3s")
    }

    @Test("give way to what the URL says itself", .emptyDatabase) func urlWins() async throws {
        var settings = TestDatabase.current.settings
        settings.url += " application_name='from the URL' options='-c statement_timeout=5s'"
        let row = try #require(
            try await Connection.connect(settings).query(
                "select current_setting('application_name') as name, current_setting('statement_timeout') as statement"
            ).first)
        #expect(try row.decode("name", as: String.self) == "from the URL")
        #expect(try row.decode("statement", as: String.self) == "5s")
    }
}
