import Postgres
import TestSupport
import Testing

@Suite("A listening connection", .emptyDatabase) struct ListenTests {
    @Test("hears what others notify, in order") func hears() async throws {
        let database = TestDatabase.current
        let listener = try await Connection.connect(database.settings)
        try await listener.listen("news \"of\" the day")
        for number in 1...3 {
            try await database.pool.query("select pg_notify(\("news \"of\" the day")::text, \("\(number)")::text)")
        }
        for number in 1...3 {
            let notification = try await listener.notification()
            #expect(notification.payload == "\(number)")
            #expect(notification.channel == "news \"of\" the day")
            #expect(notification.processID != listener.processID)
        }
    }

    @Test("keeps what arrives while it does something else") func keeps() async throws {
        let database = TestDatabase.current
        let listener = try await Connection.connect(database.settings)
        try await listener.listen("news")
        try await database.pool.query("select pg_notify('news', 'one')")
        #expect(try await listener.query("select 1").scalar(as: Int.self) == 1)
        #expect(try await listener.notification().payload == "one")
    }

    @Test("returns nothing when nothing comes in time") func nothing() async throws {
        let listener = try await Connection.connect(TestDatabase.current.settings)
        try await listener.listen("news")
        #expect(try await listener.notification(within: .milliseconds(20)) == nil)
        try await listener.unlisten("news")
        try await TestDatabase.current.pool.query("select pg_notify('news', 'one')")
        #expect(try await listener.notification(within: .milliseconds(20)) == nil)
    }

    @Test("stops waiting when its task is cancelled") func cancelled() async throws {
        let settings = TestDatabase.current.settings
        let meeting = Meeting(2)
        let task = Task {
            let listener = try await Connection.connect(settings)
            try await listener.listen("news")
            await meeting.arrive()
            _ = try await listener.notification()
        }
        await meeting.arrive()
        task.cancel()
        let error = await #expect(throws: PostgresError.self) { try await task.value }
        #expect(error?.code == .cancelled)
    }

    @Test("reports a connection that was lost while it waited") func lost() async throws {
        let database = TestDatabase.current
        let listener = try await Connection.connect(database.settings)
        try await listener.listen("news")
        try await database.pool.query("select pg_terminate_backend(\(listener.processID))")
        let error = await #expect(throws: PostgresError.self) { _ = try await listener.notification() }
        #expect(error?.code == .connection)
        #expect(!listener.isUsable)
    }
}
