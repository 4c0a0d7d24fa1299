import ArgumentParser
import Postgres
import TargetGroups

/// `koppeling rule`: who belongs to a group.
struct RuleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rule",
        abstract: "Say who belongs to a target group: whoever matches one of its rules.",
        subcommands: [Add.self, List.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a rule: all of its criteria hold together.",
            discussion: #"For example: koppeling rule add Newsletter "Mailings / News" --not "Mailings / None""#)

        @Argument(help: "The group.")
        var group: String

        @Argument(help: "Categories that a person must have, each as \"Group / Name\".")
        var categories: [String] = []

        @Option(name: .customLong("not"), help: "A category that a person must not have; may be given several times.")
        var excluded: [String] = []

        @Flag(help: "Yes, a rule that only excludes, and so matches nearly everybody, is meant.")
        var confirm = false

        func validate() throws {
            guard !(categories + excluded).isEmpty else { throw ValidationError("a rule needs a category, or --not") }
        }

        func run() async throws {
            let rule = categories.map { Criterion($0) } + excluded.map { Criterion($0, negated: true) }
            try await change(group, confirm: confirm) { $0.append(rule) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the rules of a group.")

        @Argument(help: "The group.")
        var group: String

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                let group = try await Groups(pool: runtime.pool).require(group)
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select r.position as rule, coalesce((c.criterion ->> 'negated')::boolean, false) as negated,
                        c.criterion ->> 'value' as category
                    from jsonb_array_elements(koppeling.rules_json(\(group.id))) with ordinality as r (criteria, position)
                    cross join jsonb_array_elements(r.criteria) as c (criterion)
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a rule.")

        @Argument(help: "The group.")
        var group: String

        @Argument(help: "The number of the rule, as rule list shows it.")
        var rule: Int

        func run() async throws {
            try await change(group) { rules in
                guard (1...max(1, rules.count)).contains(rule), !rules.isEmpty else {
                    throw Failure("The group \(group) has no rule \(rule): koppeling rule list shows them.")
                }
                rules.remove(at: rule - 1)
            }
        }
    }

    /// Changes the rules of a group and says what followed.
    private static func change(
        _ name: String, confirm: Bool = false, _ body: (inout [[Criterion]]) throws -> Void
    ) async throws {
        try await Runtime.with { runtime in
            let group = try await Groups(pool: runtime.pool).require(name)
            let rules = Rules(pool: runtime.pool)
            let current = try await rules.list(group: group.id)
            var changed = current.rules
            try body(&changed)
            let saved = try await rules.save(
                changed, group: group.id, over: current.version, confirmOnlyNegated: confirm, actor: runtime.actor)
            Console.line("The group has \(changed.count) rules; \(saved.changed) memberships changed.")
        }
    }
}
