import ArgumentParser
import Connector
import Postgres

/// `koppeling plan`: changes that wait for a person's approval.
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Look at held change plans, approve or discard them.",
        subcommands: [
            List.self, Show.self, Causes.self, Export.self, Approve.self, Discard.self, Thresholds.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the plans, the newest first.")

        @Option(help: "Only this state.")
        var state: State?

        enum State: String, ExpressibleByArgument, CaseIterable { case held, approved, applied, discarded, dissolved }

        @Option(help: "Only those with a lower number: the next page.")
        var before: Int64 = .max

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, target_group, state, version, held_because, joins, leaves, emptied, created_at,
                        decided_at, decided_by
                    from koppeling.plans
                    where (\(state?.rawValue)::text is null or state = \(state?.rawValue)::text) and id < \(before)::bigint
                    order by id desc
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
                Console.error(try await Plans(pool: runtime.pool).find(plan).heading)
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select person, source, id, name, change, reason, cause, rule, fields
                    from koppeling.plan_lines
                    where plan = \(plan) and person > \(after)
                    order by person
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Causes: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what brought a plan about, and how many persons each cause concerns.")

        @Argument(help: "The plan's number.")
        var plan: Int64

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                Console.error(try await Plans(pool: runtime.pool).find(plan).heading)
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select cause, change, reason, persons from koppeling.plan_causes
                    where plan = \(plan)
                    order by persons desc, cause, change, reason
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Write all lines of a plan as CSV.")

        @Argument(help: "The plan's number.")
        var plan: Int64

        func run() async throws {
            try await Runtime.with { runtime in
                let plans = Plans(pool: runtime.pool)
                Console.error(try await plans.find(plan).heading)
                try await plans.export(plan: plan) { piece in Console.output(piece) }
            }
        }
    }

    /// A plan in the version that somebody looked at.
    struct SeenPlan: ParsableArguments {
        @Argument(help: "The plan's number.")
        var plan: Int64

        @Option(name: .customLong("plan-version"), help: "The version that you looked at.")
        var version: Int
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Approve a plan as you saw it; one that changed since is refused.")

        @OptionGroup var seen: SeenPlan

        func run() async throws {
            try await Runtime.with { runtime in
                let persons = try await Plans(pool: runtime.pool).approve(
                    plan: seen.plan, version: seen.version, actor: runtime.actor)
                Console.line(String(persons))
            }
        }
    }

    struct Discard: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Discard a plan that rules caused, as you saw it: the rules of before are put back.",
            discussion: """
                What facts caused is corrected where the facts are: then the plan follows by itself. Prints how many \
                lines are left, of persons who changed meanwhile.
                """)

        @OptionGroup var seen: SeenPlan

        func run() async throws {
            try await Runtime.with { runtime in
                let left = try await Plans(pool: runtime.pool).discard(
                    plan: seen.plan, version: seen.version, actor: runtime.actor)
                Console.line(String(left))
            }
        }
    }

    struct Thresholds: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show beyond what the changes of a day are held, or set it.",
            discussion: "Held beyond the larger of count and share (of the members), and beyond the cap.")

        @Argument(help: "The target group's name.")
        var group: String

        @Option(help: "Removals that are never held.") var removalsCount: Int?
        @Option(help: "Their share of the members, from 0 to 1.") var removalsShare: Double?
        @Option(help: "Removals that are always held.") var removalsCap: Int?
        @Option(help: "Joins that are never held.") var joinsCount: Int?
        @Option(help: "Their share of the members, from 0 to 1.") var joinsShare: Double?
        @Option(help: "Joins that are always held.") var joinsCap: Int?

        @Flag(help: "One JSON object instead of lines.")
        var json = false

        func run() async throws {
            try await Runtime.with { runtime in
                try await runtime.pool.query(
                    """
                    select koppeling.set_thresholds(\(group)::text, t.given, \(runtime.actor)::text)
                    from (select jsonb_strip_nulls(jsonb_build_object(
                        'removals_count', \(removalsCount.map(Int64.init))::bigint,
                        'removals_share', \(removalsShare)::float8,
                        'removals_cap', \(removalsCap.map(Int64.init))::bigint,
                        'joins_count', \(joinsCount.map(Int64.init))::bigint,
                        'joins_share', \(joinsShare)::float8,
                        'joins_cap', \(joinsCap.map(Int64.init))::bigint)) as given) t
                    where t.given <> '{}'
                    """)
                try await Listing.showOne(
                    """
                    \(unsafe: Listing.open)
                    select target_group, removals_count, removals_share, removals_cap, joins_count, joins_share, joins_cap
                    from koppeling.plan_thresholds
                    where koppeling.fold(target_group) = koppeling.fold(\(group)::text)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: json,
                    orFail: "There is no linked target group \"\(group)\": koppeling instance list shows them.")
            }
        }
    }
}

extension Plans.Plan {
    /// What to know of a plan before its lines: the version to name, and who decided.
    fileprivate var heading: String {
        let decided = decidedAt.map { "; by \(decidedBy ?? "itself") at \($0.rfc3339)" } ?? ""
        return "Plan \(id), version \(version), \(state): \(heldBecause)\(decided)."
    }
}
