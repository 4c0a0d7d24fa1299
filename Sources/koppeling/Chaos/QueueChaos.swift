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
        let faults = Faults(crew: crew, proxy: proxy, embedded: embedded, pool: pool, time: time)
        let tally = Locked(0)
        var report = ChaosReport()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await watchLimit(tally) }
            try await withThrowingTaskGroup(of: Void.self) { work in
                work.addTask { try await enqueue() }
                work.addTask { try await faults.run() }
                try await work.waitForAll()
            }
            group.cancelAll()
        }
        try await faults.desert()
        report.complaints = try await drain(crew)
        report.broken = faults.counts
        report.findings = try await ledger.findings()
        report.findings.append(
            Ledger.Finding(
                name: "running at once above the limit of \(Ledger.limit)", isFault: true,
                count: Int64(max(0, tally.withLock { $0 } - Ledger.limit))))
        report.complaints += try await ledger.violations()
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

    /// Looks again and again how many jobs run under the limit, and keeps the most.
    private func watchLimit(_ most: Locked<Int>) async {
        while !Task.isCancelled {
            if let running = try? await ledger.runningUnderLimit() { most.withLock { $0 = max($0, running) } }
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    /// Waits until every job is finished; says what is wrong when that takes too long.
    private func drain(_ crew: Crew) async throws -> [String] {
        let deadline = ContinuousClock.now + .seconds(90)
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
