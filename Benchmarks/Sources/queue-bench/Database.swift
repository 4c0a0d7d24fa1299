import Foundation
import JobQueue
import Postgres

/// The database of one measurement.
struct Database {
    let settings: ConnectionSettings
    let pool: Pool

    init(_ settings: ConnectionSettings) {
        self.settings = settings
        pool = Pool(settings, maximum: 8)
    }

    var queue: JobQueue { JobQueue(pool: pool) }

    /// Enqueues so many jobs in bulk, over four connections; returns how many seconds it took.
    ///
    /// With keys each job gets one of so many as its order key and its limit key, spread as chance has it.
    @discardableResult
    func load(_ count: Int, keys: Int? = nil) async throws -> Double {
        let clock = Stopwatch()
        let queue = queue
        try await withThrowingTaskGroup(of: Void.self) { group in
            for connection in 0..<4 {
                group.addTask {
                    var chance = Chance(UInt64(connection))
                    for start in stride(from: connection * 1_000, to: count, by: 4_000) {
                        let jobs = (start..<min(start + 1_000, count)).map { number in
                            let key = keys.map { "key-\(chance.next(below: $0))" }
                            return NewJob(
                                kind: Work.kind, args: JSONText("{\"n\": \(number)}"), orderKey: key, limitKey: key)
                        }
                        try await queue.enqueue(many: jobs)
                    }
                }
            }
            try await group.waitForAll()
        }
        return clock.seconds
    }

    /// What autovacuum would have done by the time such a backlog has come about.
    func settle() async throws {
        try await pool.script("vacuum (analyze)")
    }

    /// Runs a file of SQL.
    func run(file: String) async throws {
        try await pool.script(try String(contentsOfFile: file, encoding: .utf8))
    }

    /// How many jobs a set of workers has done, and in which time, by the database's own clock.
    func done(by workers: [String]) async throws -> (count: Int64, seconds: Double) {
        let rows = try await pool.query(
            """
            select count(*), coalesce(extract(epoch from max(finished_at) - min(started_at)), 0)::float8
            from koppeling.jobs where state = 'done' and worker = any (\(workers)::text[])
            """)
        return (try rows[0].decode(0), try rows[0].decode(1))
    }
}

/// Measures time.
struct Stopwatch {
    private let start = ContinuousClock.now

    var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }
}

/// Numbers that are the same in every run.
struct Chance {
    private var state: UInt64

    init(_ seed: UInt64) {
        state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1
    }

    mutating func next(below limit: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(limit))
    }
}
