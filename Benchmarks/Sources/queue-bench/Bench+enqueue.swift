import IO
import JobQueue
import Postgres

/// How fast jobs come in.
extension Bench {
    func measureEnqueue() async throws {
        let single = try await server.withDatabase { database in try await singly(on: database) }
        try report.show(Figure("enqueue one at a time, 8 connections", single, "jobs/s"))
        let jobs = scaled(1_000_000)
        let bulk = try await server.withDatabase { database in
            // The first of each connection prepare their statements.
            try await database.load(10_000)
            return Double(jobs) / (try await database.load(jobs))
        }
        try report.show(Figure("enqueue in bulk", bulk, "jobs/s", aim: 100_000))
        let sql = try await server.withDatabase { database in try await fromSQL(jobs, on: database) }
        try report.show(Figure("enqueue in bulk, from SQL", sql, "jobs/s"))
    }

    /// Each in a transaction of its own.
    private func singly(on database: Database) async throws -> Double {
        let queue = database.queue
        let seconds = scaled(seconds: 15)
        let count = Locked(0)
        let clock = Stopwatch()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    while clock.seconds < seconds {
                        try await queue.enqueue(NewJob(kind: Work.kind, args: "{\"n\": 1}"))
                        count.withLock { $0 += 1 }
                    }
                }
            }
            try await group.waitForAll()
        }
        return Double(count.withLock { $0 }) / clock.seconds
    }

    /// With the function that other systems call, 1,000 jobs a call, over four connections.
    private func fromSQL(_ jobs: Int, on database: Database) async throws -> Double {
        let list = (0..<1_000).map { "{\"kind\": \"\(Work.kind)\", \"args\": {\"n\": \($0)}}" }
        let text = JSONText("[\(list.joined(separator: ", "))]")
        let pool = database.pool
        let clock = Stopwatch()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<jobs / 4_000 { try await pool.query("select koppeling.enqueue_many(\(text)::jsonb)") }
                }
            }
            try await group.waitForAll()
        }
        return Double(jobs / 4_000 * 4_000) / clock.seconds
    }
}
