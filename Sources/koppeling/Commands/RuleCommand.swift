import ArgumentParser
import Postgres
import TargetGroups

/// `koppeling rule`: who belongs to a group.
struct RuleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rule",
        abstract: "Say who belongs to a target group: whoever matches one of its rules.",
        subcommands: [Add.self, Preview.self, List.self, Remove.self])

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a rule: all of its criteria hold together.",
            discussion: #"For example: koppeling rule add Newsletter "Mailings / News" --not "Mailings / None""#)

        @Argument(help: "The group.")
        var group: String

        @OptionGroup var rule: RuleArguments

        @Flag(help: "Yes, a rule that only excludes, and so matches nearly everybody, is meant.")
        var confirm = false

        @Flag(help: "Only show what would follow, as rule preview --exact does.")
        var dryRun = false

        func run() async throws {
            let criteria = rule.criteria
            try await change(group, confirm: confirm, isDryRun: dryRun) { $0.append(criteria) }
        }
    }

    struct Preview: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what a group's rules, with this one added, would do; nothing is changed.")

        @Argument(help: "The group.")
        var group: String

        @OptionGroup var rule: RuleArguments

        @Flag(help: "Look at everybody, however long it takes, instead of estimating after a second.")
        var exact = false

        @Flag(help: "As JSON.")
        var json = false

        func run() async throws {
            try await Runtime.with { runtime in
                let group = try await Groups(pool: runtime.pool).require(group)
                let rules = Rules(pool: runtime.pool)
                let preview = try await rules.preview(
                    try await rules.list(group: group.id).rules + [rule.criteria], group: group.id, exact: exact)
                if json { return Console.line(try JSONText(encoding: preview).text) }
                Self.show(preview)
            }
        }

        fileprivate static func show(_ preview: RulePreview) {
            let about = preview.estimated ? "about " : ""
            for rule in preview.rules {
                let matches = about + rule.matches.counted("person")
                Console.line("Rule \(rule.rule) matches \(matches); so far \(about)\(rule.total) in all.")
            }
            Console.line(
                "\(about)\(preview.joins) join, \(about)\(preview.leaves) leave; "
                    + "\(about)\(preview.unsubscribed) who match said no and stay out.")
            for person in preview.sample {
                Console.line("  \(person.change.rawValue)  \(person.source) \(person.id)  \(person.name)")
            }
            if preview.estimated { Console.line("An estimate: some thousand persons stand for all; --exact counts.") }
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
                        c.criterion ->> 'kind' as kind, c.criterion ->> 'value' as value
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

        @Flag(help: "Only show what would follow: who leaves, and whom the other rules match.")
        var dryRun = false

        func run() async throws {
            try await change(group, isDryRun: dryRun) { rules in
                guard (1...max(1, rules.count)).contains(rule), !rules.isEmpty else {
                    throw Failure("The group \(group) has no rule \(rule): koppeling rule list shows them.")
                }
                rules.remove(at: rule - 1)
            }
        }
    }

    /// Changes the rules of a group and says what followed, or would follow.
    private static func change(
        _ name: String, confirm: Bool = false, isDryRun: Bool, _ body: (inout [[Criterion]]) throws -> Void
    ) async throws {
        try await Runtime.with { runtime in
            let group = try await Groups(pool: runtime.pool).require(name)
            let rules = Rules(pool: runtime.pool)
            let current = try await rules.list(group: group.id)
            var changed = current.rules
            try body(&changed)
            if isDryRun {
                return Preview.show(try await rules.preview(changed, group: group.id, exact: true))
            }
            do {
                let saved = try await rules.save(
                    changed, group: group.id, over: current.version, confirmOnlyNegated: confirm, actor: runtime.actor)
                Console.line(
                    "The group has \(changed.count.counted("rule")); \(saved.changed.counted("membership")) changed.")
                try await tellOfPlan(group.id, runtime.pool)
            } catch let error as TargetGroupsError where error.code == .needsConfirmation {
                throw Failure("\(error.message) To confirm, add --confirm.")
            }
        }
    }

    /// Says when what followed waits in a plan for somebody.
    private static func tellOfPlan(_ group: Int64, _ pool: Pool) async throws {
        let held = try await pool.query(
            """
            select id, held_because from koppeling.change_plan where target_group_id = \(group)::bigint and state = 'held'
            """)
        for plan in held {
            let number: Int64 = try plan.decode("id")
            Console.line(
                "Plan \(number) holds what follows in Mailchimp (\(try plan.decode("held_because", as: String.self))): "
                    + "koppeling plan show \(number)")
        }
    }
}

/// What a rule asks for.
struct RuleArguments: ParsableArguments {
    @Argument(help: "Categories that a person must have, each as \"Group / Name\".")
    var categories: [String] = []

    @Option(name: .customLong("not"), help: "A category that a person must not have; may be given several times.")
    var excluded: [String] = []

    @Option(help: "A function that one of the person's positions must have.")
    var function: [String] = []

    @Option(help: "The department of that position.")
    var department: [String] = []

    @Option(help: "The company of that position, as source/id or by its name.")
    var company: [String] = []

    @Option(help: "A category of that company; may be given several times.")
    var companyCategory: [String] = []

    @Option(help: "A function that none of the person's positions may have; may be given several times.")
    var notFunction: [String] = []

    @Option(help: "The same for a department.")
    var notDepartment: [String] = []

    @Option(help: "The same for a company.")
    var notCompany: [String] = []

    @Option(help: "The same for a category of the company.")
    var notCompanyCategory: [String] = []

    func validate() throws {
        // All of a rule holds for one position, which has one of each.
        for (values, name) in [(function, "functions"), (department, "departments"), (company, "companies")]
        where values.count > 1 {
            throw ValidationError("two \(name) match nobody: give two rules")
        }
        guard !criteria.isEmpty else {
            throw ValidationError(
                "a rule needs a category, --function, --department, --company, or something not to be")
        }
    }

    /// The criteria, in the order of the kinds.
    var criteria: [Criterion] {
        let asked: [(Criterion.Kind, [String])] = [
            (.personCategory, categories), (.function, function), (.department, department), (.company, company),
            (.companyCategory, companyCategory),
        ]
        let refused: [(Criterion.Kind, [String])] = [
            (.personCategory, excluded), (.function, notFunction), (.department, notDepartment),
            (.company, notCompany), (.companyCategory, notCompanyCategory),
        ]
        return asked.flatMap { kind, values in values.map { Criterion($0, kind: kind) } }
            + refused.flatMap { kind, values in values.map { Criterion($0, kind: kind, negated: true) } }
    }
}
