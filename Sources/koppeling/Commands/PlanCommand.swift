import ArgumentParser
import Connector
import Postgres

/// `koppeling plan`: changes that wait for a person's approval.
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Look at held change plans and approve them.",
        subcommands: [List.self, Show.self, Approve.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the plans, held ones first.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, target_group, state, version, held_because, joins, leaves, emptied, created_at
                    from koppeling.plans
                    order by state = 'held' desc, id desc
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show who would join and who would leave, why, and what brought it about.")

        @Argument(help: "The plan's number.")
        var plan: Int64

        @Option(help: "Go on after this person's number.")
        var after: Int64 = 0

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select person, name, change, reason, cause from koppeling.plan_lines
                    where plan = \(plan) and person > \(after)
                    order by person
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Approve a plan as you saw it; one that changed since is refused.")

        @Argument(help: "The plan's number.")
        var plan: Int64

        @Option(name: .customLong("plan-version"), help: "The version that you looked at.")
        var version: Int

        func run() async throws {
            try await Runtime.with { runtime in
                let persons = try await Plans(pool: runtime.pool).approve(
                    plan: plan, version: version, actor: runtime.actor)
                Console.line(String(persons))
            }
        }
    }
}
