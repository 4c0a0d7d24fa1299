import ArgumentParser
import Postgres

/// `koppeling jobs`: single jobs.
struct JobsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs", abstract: "List jobs, retry those that failed for good, cancel those that wait.",
        subcommands: [List.self, Attempts.self, Retry.self, Cancel.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List jobs, the newest first.")

        @Option(help: "Only these: ready, scheduled, parked, running, done, rejected or cancelled.")
        var state: String?

        @Option(help: "Only those of this queue.")
        var queue: String?

        @Option(help: "Only those of this kind.")
        var kind: String?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, state, queue, kind, key, attempt, enqueued_at, run_at, finished_at, worker, reason
                    from koppeling.newest_jobs(\(listing.limit)::int, \(state)::text, \(queue)::text, \(kind)::text)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Attempts: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the attempts at a job, and which worker made them.")

        @Argument(help: "The job's id.")
        var id: Int64

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select attempt, worker, started_at, ended_at, outcome, error from koppeling.job_attempts
                    where job_id = \(id)
                    order by started_at
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Retry: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make rejected or cancelled jobs ready again.")

        @Argument(help: "Their ids.")
        var ids: [Int64]

        func run() async throws {
            try await Runtime.with { runtime in
                try await runtime.pool.transaction { connection in
                    for id in ids { try await connection.query("select koppeling.retry_job(\(id))") }
                }
            }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Cancel jobs that wait; a running one is not touched.")

        @Argument(help: "Their ids.")
        var ids: [Int64]

        func run() async throws {
            try await Runtime.with { runtime in
                let left = try await runtime.pool.transaction { connection in
                    var left: [Int64] = []
                    for id in ids {
                        let rows = try await connection.query(
                            "select koppeling.cancel_job(\(id), \("cancelled by " + runtime.actor))")
                        if try !rows.scalar(as: Bool.self) { left.append(id) }
                    }
                    return left
                }
                guard left.isEmpty else {
                    throw Failure(
                        "These do not wait, and were left alone: \(left.map(String.init).joined(separator: ", ")).")
                }
            }
        }
    }
}

/// `koppeling queue`: how much waits.
struct QueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Show how much waits in each queue, by kind, and since when.",
        subcommands: [RetentionCommand.self])

    @OptionGroup var listing: ListingOptions

    func run() async throws {
        try await Runtime.with { runtime in
            try await Listing.show(
                """
                \(unsafe: Listing.open)
                select queue, kind, ready, scheduled, parked, running, retrying, oldest_ready_at
                from koppeling.queue_status
                order by queue, kind
                limit \(listing.limit)
                \(unsafe: Listing.close)
                """, from: runtime.pool, json: listing.json)
        }
    }
}
