import Postgres
import TestSupport
import Testing

@Suite("The threads that all tasks share", .emptyDatabase) struct HeartbeatTests {
    @Test("stay free while eight connections sleep in the server") func heartbeat() async throws {
        let settings = TestDatabase.current.settings
        let pool = Pool(settings, maximum: 8)
        let sleep = 1.0
        let ticks = try await withThrowingTaskGroup(of: Int?.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    try await pool.query("select pg_sleep(\(sleep)::float8)")
                    return nil
                }
            }
            group.addTask { await beats(every: .milliseconds(10)) }
            for _ in 0..<8 { _ = try await group.next() }
            group.cancelAll()
            return try await group.next().flatMap { $0 }
        }
        // A hundred in theory; a blocked pool would let at most a few through on any machine with fewer than eight threads.
        #expect(try #require(ticks) >= 30)
        await pool.close()
    }
}

/// Counts beats until the task is cancelled.
private func beats(every interval: Duration) async -> Int {
    var count = 0
    while (try? await Task.sleep(for: interval)) != nil { count += 1 }
    return count
}
