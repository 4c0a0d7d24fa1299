import Glibc
import Postgres
import TestSupport
import Testing

@Suite("The threads that all tasks share", .emptyDatabase) struct HeartbeatTests {
    @Test("stay free while eight connections sleep in the server") func heartbeat() async throws {
        let url = try TestDatabase.current.settings.connectionString()
        // In a process of its own: the other tests of this one are busy on the same threads.
        await #expect(processExitsWith: .success) { [url = url as String] in
            let pool = Pool(ConnectionSettings(url: url), maximum: 8)
            let ticks = try await withThrowingTaskGroup(of: Int?.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        try await pool.query("select pg_sleep(1)")
                        return nil
                    }
                }
                group.addTask { await beats(every: .milliseconds(10)) }
                for _ in 0..<8 { _ = try await group.next() }
                group.cancelAll()
                return try await group.next().flatMap { $0 } ?? 0
            }
            // A hundred in theory. Were the threads blocked, next to none would come through.
            exit(ticks >= 30 ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }
}

/// Counts beats until the task is cancelled.
private func beats(every interval: Duration) async -> Int {
    var count = 0
    while (try? await Task.sleep(for: interval)) != nil { count += 1 }
    return count
}
