import ArgumentParser
import FoundationEssentials
import Postgres

/// `koppeling jobs retry`: runs again what failed for good, some jobs or all that match.
struct RetryJobs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "retry", abstract: "Make rejected or cancelled jobs ready again.",
        discussion: """
            With ids those are made ready, all or none. With --rejected all rejected ones that match the other options; \
            --dry-run only counts them. Prints how many there were.
            """)

    @Argument(help: "Their ids.")
    var ids: [Int64] = []

    @Flag(help: "All rejected ones that match.")
    var rejected = false

    @Option(help: "Only those of this queue.")
    var queue: String?

    @Option(help: "Only those of this kind.")
    var kind: String?

    @Option(help: "Only those whose reason has this in it, in whatever case.")
    var reason: String?

    @Option(
        help: "Only those rejected at this moment or later, such as 2030-01-31T12:00:00Z or 2030-01-31.",
        transform: moment)
    var since: Date?

    @Option(help: "Only those rejected before this moment.", transform: moment)
    var until: Date?

    @Flag(help: "Only say how many there are.")
    var dryRun = false

    func validate() throws {
        let filters: [Any?] = [queue, kind, reason, since, until]
        if rejected == ids.isEmpty && (rejected || !dryRun && filters.allSatisfy { $0 == nil }) { return }
        throw ValidationError("give the ids of jobs, or --rejected with options that say which")
    }

    func run() async throws {
        try await Runtime.with { runtime in
            Console.line(String(try await rejected ? retryRejected(runtime.pool) : retryThese(runtime.pool)))
        }
    }

    private func retryThese(_ pool: Pool) async throws -> Int64 {
        try await pool.transaction { connection in
            for id in ids { try await connection.query("select koppeling.retry_job(\(id))") }
        }
        return Int64(ids.count)
    }

    private func retryRejected(_ pool: Pool) async throws -> Int64 {
        if dryRun { return try await count(pool) }
        // Those that are rejected again meanwhile are not begun with anew.
        let until: Date = try await pool.query("select least(\(until)::timestamptz, koppeling.now())").scalar()
        var total: Int64 = 0
        while true {
            let count: Int64 = try await pool.query(
                """
                select koppeling.retry_rejected(\(queue)::text, \(kind)::text, \(reason)::text,
                    \(since)::timestamptz, \(until)::timestamptz, \(Self.step)::int)
                """
            ).scalar()
            total += count
            if count < Self.step { return total }
        }
    }

    private func count(_ pool: Pool) async throws -> Int64 {
        try await pool.query(
            """
            select count(*) from koppeling.job_history
            where outcome = 'rejected'
                and (\(queue)::text is null or queue = \(queue)::text)
                and (\(kind)::text is null or kind = \(kind)::text)
                and (\(reason)::text is null or position(lower(\(reason)::text) in lower(reason)) > 0)
                and (\(since)::timestamptz is null or finished_at >= \(since)::timestamptz)
                and (\(until)::timestamptz is null or finished_at < \(until)::timestamptz)
            """
        ).scalar()
    }

    private static var step: Int64 { 1_000 }
}

/// `koppeling jobs cancel`: what waits is finished at once, what runs within a second or so.
struct CancelJobs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "Cancel jobs that wait or run.",
        discussion: "One that runs is told to stop, wherever it does.")

    @Argument(help: "Their ids.")
    var ids: [Int64]

    @Option(help: "Why; it is kept with the job.")
    var reason: String?

    func run() async throws {
        try await Runtime.with { runtime in
            let reason = reason ?? "cancelled by " + runtime.actor
            let left = try await runtime.pool.transaction { connection in
                var left: [Int64] = []
                for id in ids {
                    let rows = try await connection.query("select koppeling.cancel_job(\(id), \(reason))")
                    if try !rows.scalar(as: Bool.self) { left.append(id) }
                }
                return left
            }
            guard left.isEmpty else {
                throw Failure(
                    "These are finished or unknown, and were left alone: \(left.map(String.init).joined(separator: ", "))."
                )
            }
        }
    }
}
