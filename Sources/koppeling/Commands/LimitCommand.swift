import ArgumentParser
import Postgres

/// `koppeling limit`: how many jobs of a limit key run at once, and how many start in a period.
struct LimitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limit", abstract: "Limit the jobs of a limit key, over all workers and queues.",
        subcommands: [List.self, Set.self, Remove.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the limits, with what runs and waits under each.")

        @Option(help: "Only those after this one: the next page.")
        var after: String?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select limit_key, concurrency, rate, period, running, waiting, tokens, opens_at
                    from koppeling.limits
                    where \(after)::text is null or limit_key > \(after)::text
                    order by limit_key
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set the limit of a key; what is not given is not limited.",
            discussion: "Holds within a second for whatever starts from then on, whichever worker starts it.")

        @Argument(help: "The limit key of the jobs.")
        var key: String

        @Option(help: "At most so many run at once.")
        var concurrency: Int?

        @Option(help: "At most so many start in a period.")
        var rate: Int?

        @Option(help: "The period, in seconds or such as '5 minutes'.")
        var period: String?

        func run() async throws {
            try await Runtime.with { runtime in
                do throws(PostgresError) {
                    try await runtime.pool.query(
                        """
                        select koppeling.set_limit(\(key), \(concurrency)::bigint::int, \(rate)::bigint::int,
                            \(period)::text::interval)
                        """)
                } catch {
                    switch error.sqlState {
                    case "22007", "22008", "22015":
                        throw Failure("--period is a time, in seconds or such as '5 minutes'.")
                    case "22003": throw Failure("--concurrency and --rate are whole numbers below 2147483648.")
                    default: throw error
                    }
                }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take the limit of a key away.")

        @Argument(help: "The limit key.")
        var key: String

        func run() async throws {
            try await Runtime.with { runtime in
                guard try await runtime.pool.query("select koppeling.remove_limit(\(key))").scalar(as: Bool.self) else {
                    throw Failure("There is no limit for \(key): koppeling limit list shows them.")
                }
            }
        }
    }
}
