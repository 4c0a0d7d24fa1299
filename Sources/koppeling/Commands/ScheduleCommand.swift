import ArgumentParser
import Postgres

/// `koppeling schedule`: jobs that are enqueued at the moments of a cron expression.
struct ScheduleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule", abstract: "List, put and remove schedules: jobs that are enqueued by the clock.",
        subcommands: [
            List.self, Put.self, Remove.self, Pause.self, Resume.self, RunNow.self, Next.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List schedules by name, and how they stand.")

        @Option(help: "Only those behind this name: the next page.")
        var after: String?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select name, cron, time_zone, missed, paused, next_at, last_at, last_job_id, error, kind, args, queue,
                        key, key_mode, order_key, limit_key, priority, max_attempts
                    from koppeling.schedules
                    where \(after)::text is null or name > \(after)::text
                    order by name
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a schedule; the jobs it has made stay.")

        @Argument(help: "Its name.")
        var name: String

        func run() async throws {
            try await Runtime.with { runtime in
                try await runtime.pool.query("select koppeling.remove_schedule(\(name))").requireSchedule(name)
            }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a schedule make no jobs for now.")

        @Argument(help: "Its name.")
        var name: String

        func run() async throws {
            try await Runtime.with { runtime in
                try await runtime.pool.query("select koppeling.pause_schedule(\(name))").requireSchedule(name)
            }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a paused schedule go on, with the first tick that is still to come.")

        @Argument(help: "Its name.")
        var name: String

        func run() async throws {
            try await Runtime.with { runtime in
                try await runtime.pool.query("select koppeling.resume_schedule(\(name))").requireSchedule(name)
            }
        }
    }

    struct RunNow: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run", abstract: "Enqueue the job of a schedule now, and print its id.")

        @Argument(help: "Its name.")
        var name: String

        func run() async throws {
            try await Runtime.with { runtime in
                let rows = try await runtime.pool.query("select koppeling.run_schedule(\(name))")
                Console.line(String(try rows.scalar(as: Int64.self)))
            }
        }
    }

    struct Next: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the next ticks of a cron expression.",
            discussion: "For example: koppeling schedule next '30 8 * * mon-fri' --time-zone Europe/Amsterdam")

        @Argument(help: "The cron expression, as one argument.")
        var cron: String

        @Option(help: "Whose clocks it is about, such as Europe/Amsterdam.")
        var timeZone = "UTC"

        @Option(help: "At most this many lines.")
        var limit = 10

        @Flag(help: "One JSON object a line, instead of a table.")
        var json = false

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select tick, to_char(tick at time zone \(timeZone)::text, 'Dy YYYY-MM-DD HH24:MI') as local_time
                    from koppeling.next_ticks(\(cron)::text, \(timeZone)::text, count => \(limit)::bigint::int) as tick
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: json)
            }
        }

        func validate() throws {
            guard (1...1_000).contains(limit) else { throw ValidationError("--limit is a number from 1 to 1000") }
        }
    }
}

extension ScheduleCommand {
    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a schedule, or change the one of that name, and print its next tick.",
            discussion: """
                What is not given takes its default, also when a schedule is changed. While cron and time zone stay, so \
                does the next tick; and a paused schedule stays paused.
                """)

        @Argument(help: "Its name.")
        var name: String

        @Argument(
            help: "Minute, hour, day of month, month, day of week, as one argument; or @hourly, @daily and so on.")
        var cron: String

        @Argument(help: "The kind of its jobs; table koppeling.job_kind has them.")
        var kind: String

        @Option(help: "Whose clocks the cron expression is about, such as Europe/Amsterdam; UTC without.")
        var timeZone: String?

        @Option(
            help: "What to do about ticks more than a minute late: skip them, or one job once for all; once without.")
        var missed: String?

        @OptionGroup var options: JobOptions

        func run() async throws {
            try await Runtime.with { runtime in Console.line(try await put(runtime.pool)) }
        }

        /// The fields go through the same checks as those that come over HTTP.
        private func put(_ pool: Pool) async throws -> String {
            do throws(PostgresError) {
                let rows = try await pool.query(
                    """
                    select coalesce(koppeling.iso8601(koppeling.put_schedule_object(\(name), jsonb_build_object(
                        'cron', \(cron)::text, 'kind', \(kind)::text, 'args', \(options.args)::text::jsonb,
                        'time_zone', \(timeZone)::text, 'missed', \(missed)::text, 'queue', \(options.queue)::text,
                        'key', \(options.key)::text, 'key_mode', \(options.keyMode)::text,
                        'order_key', \(options.orderKey)::text,
                        'limit_key', \(options.limitKey)::text, 'priority', \(options.priority)::bigint,
                        'max_attempts', \(options.maxAttempts)::bigint))), 'paused')
                    """)
                return try rows.scalar()
            } catch {
                guard error.sqlState == "22P02" || error.sqlState == "22P05" else { throw error }
                throw Failure("args: not JSON that can be stored.")
            }
        }
    }
}

extension Rows {
    /// Fails when what was asked for was of no schedule there is.
    fileprivate func requireSchedule(_ name: String) throws {
        guard try scalar(as: Bool.self) else {
            throw Failure("There is no schedule \(name): koppeling schedule list shows them.")
        }
    }
}
