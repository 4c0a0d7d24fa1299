import ArgumentParser
import Postgres

/// `koppeling jobs`: jobs, one by one and as a list.
struct JobsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jobs", abstract: "List and show jobs, retry those that failed for good, cancel others.",
        subcommands: [List.self, Show.self, Attempts.self, RetryJobs.self, CancelJobs.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List jobs, the newest first.")

        @Option(help: "Only this state.")
        var state: State?

        enum State: String, ExpressibleByArgument, CaseIterable {
            case ready, scheduled, parked, blocked, running, done, rejected, cancelled
        }

        @Option(help: "Only those of this queue.")
        var queue: String?

        @Option(help: "Only those of this kind.")
        var kind: String?

        @Option(help: "Only those with this as key, order key or limit key.")
        var key: String?

        @Option(help: "Only those with a smaller id: the next page.")
        var before: Int64?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, state, blocked_by, queue, kind, key, order_key, limit_key, attempt, enqueued_at, run_at,
                        finished_at, worker, reason
                    from koppeling.newest_jobs(\(listing.limit)::int, \(state?.rawValue)::text, \(queue)::text, \(kind)::text,
                        \(before)::bigint, \(key)::text)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show everything about a job: what it is about, what came of it, and every attempt.")

        @Argument(help: "The job's id.")
        var id: Int64

        @Flag(help: "One JSON object.")
        var json = false

        func run() async throws {
            try await Runtime.with { runtime in
                let rows = try await runtime.pool.query(
                    """
                    select (j.line::jsonb || jsonb_build_object('attempts', (
                            select coalesce(
                                jsonb_agg(koppeling.in_utc(row_to_json(a))::jsonb - 'job_id' order by a.started_at),
                                '[]')
                            from koppeling.job_attempts a where a.job_id = \(id))))::text as json,
                        array(select e.key from json_each_text(j.line) with ordinality as e (key, value, n)
                            where e.value is not null order by e.n) as names,
                        array(select e.value from json_each_text(j.line) with ordinality as e (key, value, n)
                            where e.value is not null order by e.n) as cells
                    from (select koppeling.in_utc(row_to_json(j)) as line from koppeling.jobs j where j.id = \(id)) j
                    """)
                guard let row = rows.first else { throw Failure("There is no job \(id).") }
                if json {
                    Console.line(try row.decode("json", as: String.self))
                    return
                }
                let (names, cells) = (
                    try row.decode("names", as: [String].self), try row.decode("cells", as: [String].self)
                )
                for line in Listing.aligned(zip(names, cells).map { [$0, $1] }) { Console.line(line) }
                Console.line("")
                try await Attempts.show(id, limit: 1_000, from: runtime.pool, json: false)
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
                try await Self.show(id, limit: listing.limit, from: runtime.pool, json: listing.json)
            }
        }

        static func show(_ id: Int64, limit: Int, from pool: Pool, json: Bool) async throws {
            try await Listing.show(
                """
                \(unsafe: Listing.open)
                select attempt, worker, started_at, ended_at, outcome, error from koppeling.job_attempts
                where job_id = \(id)
                order by started_at
                limit \(limit)
                \(unsafe: Listing.close)
                """, from: pool, json: json)
        }
    }
}
