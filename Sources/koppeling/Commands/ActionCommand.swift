import ArgumentParser
import Connector
import Postgres

/// `koppeling action`: what is to be carried out in Mailchimp, and what was.
struct ActionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "action", abstract: "List actions, run those that wait for a person or were rejected.",
        subcommands: [List.self, Reasons.self, Run.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the newest actions.")

        @Option(help: "Only this state.")
        var state: State?

        enum State: String, ExpressibleByArgument, CaseIterable {
            case staged, parked, running, done, rejected, superseded
        }

        @Option(help: "Only this instance, by its name.")
        var instance: String?

        @Option(help: "Only those with a lower number: the next page.")
        var before: Int64 = .max

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                if let instance {
                    try await runtime.pool.query("select koppeling.require_instance(\(instance)::text)")
                }
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, instance, action, state, contact, reason, attempt, enqueued_at, finished_at, worker
                    from koppeling.actions
                    where (\(state?.rawValue)::text is null or state = \(state?.rawValue)::text)
                        and (\(instance)::text is null or instance = \(instance)::text) and id < \(before)::bigint
                    order by id desc
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Reasons: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List why actions were rejected, and how many for each reason.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select instance, action, actions, latest, reason from koppeling.rejected_reasons
                    order by actions desc, instance, action, reason
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run actions that wait for a person, or that were rejected. Prints how many.",
            discussion: """
                Names the actions; or takes all that wait in an instance with --all; or all that it rejected for one \
                reason with --all and --reason.
                """)

        @Argument(help: "The actions' numbers.")
        var actions: [Int64] = []

        @Option(help: "All that wait in this instance.")
        var all: String?

        @Option(help: "With --all: those that were rejected for this reason, as `koppeling action reasons` has it.")
        var reason: String?

        @Option(help: "With --all: only these.")
        var action: Template?

        enum Template: String, ExpressibleByArgument, CaseIterable { case create, update, delete }

        func validate() throws {
            guard actions.isEmpty != (all == nil), all != nil || reason == nil && action == nil else {
                throw ValidationError("name actions, or an instance with --all")
            }
        }

        func run() async throws {
            try await Runtime.with { runtime in
                let query: Query =
                    if let all, let reason {
                        """
                        select koppeling.run_rejected_actions(\(all)::text, \(reason)::text, \(action?.rawValue)::text,
                            \(runtime.actor)::text)
                        """
                    } else if let all {
                        """
                        select koppeling.run_waiting_actions(\(all)::text, \(action?.rawValue)::text,
                            \(runtime.actor)::text)
                        """
                    } else {
                        "select koppeling.run_actions(\(actions)::bigint[], \(runtime.actor)::text)"
                    }
                let count: Int64 = try await runtime.pool.query(query).scalar()
                Console.line(String(count))
                let left = Int64(Set(actions).count) - count
                if left > 0 {
                    Console.error("\(left) of these neither wait for somebody nor were rejected, and were left alone.")
                }
            }
        }
    }
}
