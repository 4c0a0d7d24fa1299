import ArgumentParser
import Connector
import Postgres

/// `koppeling action`: what is to be carried out in Mailchimp, and what was.
struct ActionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "action", abstract: "List actions, run those that wait for a person.",
        subcommands: [List.self, Run.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the newest actions.")

        @Option(help: "Only this state: staged, parked, running, done, rejected or superseded.")
        var state: String?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, instance, action, state, contact, reason, attempt, enqueued_at, finished_at, worker
                    from koppeling.actions
                    where \(state)::text is null or state = \(state)::text
                    order by id desc
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run actions that wait because their template is manual.",
            discussion: "Names the actions, or takes all of an instance with --all.")

        @Argument(help: "The actions' numbers.")
        var actions: [Int64] = []

        @Option(help: "All that wait in this instance.")
        var all: String?

        func validate() throws {
            guard actions.isEmpty != (all == nil) else {
                throw ValidationError("name actions, or an instance with --all")
            }
        }

        func run() async throws {
            try await Runtime.with { runtime in
                let rows = try await runtime.pool.query(
                    """
                    select koppeling.run_parked(\(actions)::bigint[], \(all)::text)
                    """)
                Console.line(String(try rows.scalar(as: Int64.self)))
            }
        }
    }
}
