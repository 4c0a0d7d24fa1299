import ArgumentParser
import Postgres
import TargetGroups

/// `koppeling group`: the target groups and who is in them.
struct GroupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "List target groups and their members; decide about one by hand.",
        subcommands: [
            Create.self, List.self, Check.self, Members.self, Add.self, Remove.self, Release.self, Readmit.self,
            Delete.self,
        ])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a target group without rules.")

        @Argument(help: "Its name.")
        var name: String

        func run() async throws {
            try await Runtime.with { _ = try await Groups(pool: $0.pool).create(name) }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the target groups.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select g.name, g.linked, g.email_kind, g.valid, c.active, c.inactive, k.defects, k.checked_at
                    from koppeling.target_group g
                    left join koppeling.group_check k on k.target_group_id = g.id
                    cross join lateral (
                        select count(*) filter (where m.status = 'active') as active,
                            count(*) filter (where m.status = 'inactive') as inactive
                        from koppeling.membership m where m.target_group_id = g.id
                    ) c
                    order by koppeling.fold(g.name)
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look at groups in full, and mend and count what is not as the facts say.",
            discussion: "Workers do so each night. Any defect is a mistake of ours: please report it.")

        @Argument(help: "The group; all of them without.")
        var group: String?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                var only: Int64?
                if let group { only = try await Groups(pool: runtime.pool).require(group).id }
                _ = try await GroupChecks(pool: runtime.pool).run(only: only)
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select g.name, g.valid, c.defects, c.all_defects, c.checked_at
                    from koppeling.group_check c
                    join koppeling.target_group g on g.id = c.target_group_id
                    where \(only)::bigint is null or g.id = \(only)::bigint
                    order by koppeling.fold(g.name)
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Members: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the memberships of a group, with their reasons; those that changed last come first.")

        @Argument(help: "The group.")
        var group: String

        @Option(help: "Only this status.")
        var status: Status?

        enum Status: String, ExpressibleByArgument, CaseIterable { case active, inactive }

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                let group = try await Groups(pool: runtime.pool).require(group)
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select source, external_id as id, first_name, last_name, address, status, via, reason, override, changed_at
                    from koppeling.target_group_members
                    where target_group_id = \(group.id) and (\(status?.rawValue)::text is null
                        or status = \(status?.rawValue)::text)
                    order by changed_at desc, person_id
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Add a person by hand: a member whatever the rules say, unless the person said no.")

        @OptionGroup var member: MemberArguments

        func run() async throws {
            try await member.decide(.include)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a person by hand: no member, whatever the rules say.")

        @OptionGroup var member: MemberArguments

        func run() async throws {
            try await member.decide(.exclude)
        }
    }

    struct Release: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take back what was decided by hand: the rules decide again.")

        @OptionGroup var member: MemberArguments

        func run() async throws {
            try await member.decide(.none)
        }
    }
}

extension GroupCommand {
    struct Readmit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a person back in who was archived inside Mailchimp, or who signed up again after a no.",
            discussion: """
                Whoever said no and did not sign up again is not let in by this: koppeling person invite has Mailchimp \
                ask.
                """)

        @OptionGroup var member: MemberArguments

        func run() async throws {
            try await member.person.with { runtime in
                try await Memberships(pool: runtime.pool).readmit(
                    source: member.person.source, id: member.person.id, group: member.group, actor: runtime.actor)
            }
        }
    }
}

/// A group, and a person in it.
struct MemberArguments: ParsableArguments {
    @Argument(help: "The group.")
    var group: String

    @OptionGroup var person: PersonArguments

    /// Records what was decided by hand.
    func decide(_ override: Override) async throws {
        try await person.with { runtime in
            let (group, person) = try await find(in: runtime.pool)
            let memberships = Memberships(pool: runtime.pool)
            try await memberships.setOverride(override, person: person, group: group, actor: runtime.actor)
            guard override == .include else { return }
            let reasons = try await memberships.why(person: person, group: group).reasons
            if !reasons.isEmpty {
                let because = reasons.map(\.rawValue).joined(separator: ", ")
                Console.line("She stays out: \(because). koppeling why tells more.")
            }
        }
    }

    /// The numbers of the group and the person.
    func find(in pool: Pool) async throws -> (group: Int64, person: Int64) {
        let group = try await Groups(pool: pool).require(group)
        let person = try await pool.query("select koppeling.require_person(\(person.source), \(person.id))")
        return (group.id, try person.scalar())
    }
}
