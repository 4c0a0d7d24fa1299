import EmbeddedPostgres
import Foundation
import IO
import Logging
import Postgres

/// Four workers run jobs that write into a ledger, while workers, connections and the server are broken.
struct QueueChaos: Sendable {
    static let workers = 4

    let folder: String
    let database: ConnectionSettings
    let pool: Pool
    let embedded: EmbeddedPostgres
    let proxy: FaultyProxy
    let jobs: Int
    let time: Duration

    private var ledger: Ledger { Ledger(pool: pool) }

    /// Runs it all; always ends, at the latest three minutes after the time.
    func run() async throws -> ChaosReport {
        try await pool.withConnection { _ = try await Migrator.locate().migrate($0) }
        try await ledger.make()
        let program = Program(environment: [
            "DATABASE_URL": "host=127.0.0.1 port=\(proxy.port) user=koppeling dbname=koppeling",
            "LOG_LEVEL": "warning",
        ])
        let crew = try Crew(size: Self.workers, program: program, folder: folder)
        defer { crew.end() }
        let faults = Faults(crew: crew, proxy: proxy, embedded: embedded, folder: folder, pool: pool, time: time)
        var report = ChaosReport()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await enqueue() }
            group.addTask { try await faults.run() }
            try await group.waitForAll()
        }
        try await faults.repair()
        report.complaints = try await drain(crew)
        report.broken = faults.counts
        report.findings = try await ledger.findings()
        if report.findings.contains(where: { $0.isFault && $0.count > 0 }) { report.complaints += crew.lastLines() }
        return report
    }

    /// Enqueues the jobs in batches, spread over most of the time, again when the answer was lost.
    private func enqueue() async throws {
        let batches = (jobs + Ledger.batch - 1) / Ledger.batch
        let began = ContinuousClock.now
        for batch in 0..<batches {
            try await Task.sleep(until: began + time * 0.8 * (Double(batch) / Double(batches)))
            let deadline = ContinuousClock.now + .seconds(60)
            while true {
                do {
                    try await ledger.enqueue(batch: batch, of: jobs)
                    break
                } catch let error as PostgresError where ContinuousClock.now < deadline {
                    // The server is being restarted, or this very connection was ended.
                    guard error.isRetryable || error.code == .timeout || error.code == .commitUnknown else {
                        throw error
                    }
                    try await Task.sleep(for: .milliseconds(100))
                }
            }
        }
    }

    /// Waits until every job is finished; says what is wrong when that takes too long.
    private func drain(_ crew: Crew) async throws -> [String] {
        let deadline = ContinuousClock.now + .seconds(120)
        while try await ledger.left() > 0 {
            guard ContinuousClock.now < deadline else {
                let stuck = try await pool.query(
                    """
                    select count(*) || ' ' || state || ' of kind ' || kind || ', such as ' || min(id) as line
                    from koppeling.jobs where finished_at is null group by state, kind
                    """)
                return try stuck.map { try $0.decode("line", as: String.self) } + crew.lastLines()
            }
            crew.replaceDead()
            try await Task.sleep(for: .milliseconds(200))
        }
        return []
    }
}
