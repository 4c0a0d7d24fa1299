import ArgumentParser
import Postgres

/// `koppeling queue`: how much waits, and what is held back by hand.
struct QueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Show how much waits; pause and resume queues, kinds and keys.",
        subcommands: [Status.self, Pause.self, Resume.self, Pauses.self, RetentionCommand.self],
        defaultSubcommand: Status.self)

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how much waits in each queue, by kind, and since when.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select queue, kind, ready, scheduled, blocked, parked, running, retrying, oldest_ready_at,
                        exists (
                            select from koppeling.pauses p
                            where p.key is null and coalesce(p.queue, s.queue) = s.queue
                                and coalesce(p.kind, s.kind) = s.kind) as paused
                    from koppeling.queue_status s
                    order by queue, kind
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Start nothing of a queue, a kind, a key, or what they have in common, until it is resumed.",
            discussion: "What runs already goes on. All workers obey within a second. Prints the id of the pause.")

        @OptionGroup var what: Pausable

        @Option(help: "Why; it is shown with the pause.")
        var reason: String?

        func run() async throws {
            try await Runtime.with { runtime in
                let id = try await runtime.pool.query(
                    """
                    select koppeling.pause(\(what.queue)::text, \(what.kind)::text, \(what.key)::text,
                        \(reason ?? "paused by " + runtime.actor)::text)
                    """
                ).scalar(as: Int64.self)
                Console.line(String(id))
            }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End the pause of exactly this queue, kind and key.")

        @OptionGroup var what: Pausable

        func run() async throws {
            try await Runtime.with { runtime in
                let isResumed = try await runtime.pool.query(
                    "select koppeling.resume(\(what.queue)::text, \(what.kind)::text, \(what.key)::text)"
                ).scalar(as: Bool.self)
                guard isResumed else {
                    throw Failure("Nothing is paused by exactly these: koppeling queue pauses shows what is.")
                }
            }
        }
    }

    struct Pauses: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List what is paused, the newest first.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, queue, kind, key, reason, paused_at from koppeling.pauses
                    order by id desc
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }
}

/// What a pause is about: jobs to which all apply that are given.
struct Pausable: ParsableArguments {
    @Argument(help: "The queue.")
    var queue: String?

    @Option(help: "The kind.")
    var kind: String?

    @Option(help: "The key: of a job it is the key, order key or limit key.")
    var key: String?

    func validate() throws {
        guard queue != nil || kind != nil || key != nil else {
            throw ValidationError("give a queue, --kind or --key")
        }
    }
}
