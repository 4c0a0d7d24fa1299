import ArgumentParser
import Connector
import Postgres
import TargetGroups

/// `koppeling person`: persons in, changed, archived, and what they said no to.
struct PersonCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "person", abstract: "Put persons in, archive them, record that they want no mail.",
        subcommands: [
            Put.self, Import.self, Archive.self, Reactivate.self, Merge.self, Unsubscribe.self, Invite.self,
            PersonExport.self, PersonErase.self, PersonErased.self,
        ])

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a person, or an array of persons, given as JSON; all of them or none.",
            discussion: "The fields are those of koppeling.put_person: an absent one stays as it is, null clears it.")

        @Argument(help: "A file with the JSON; - is stdin.")
        var file = "-"

        func run() async throws {
            let json = JSONText(utf8: try await Console.json(of: file, example: "koppeling person put < person.json"))
            try await Runtime.with { runtime in
                let rows = try await runtime.pool.query(
                    """
                    select case jsonb_typeof(persons)
                        when 'array' then koppeling.put_persons(persons)
                        else koppeling.put_persons(jsonb_build_array(persons))
                    end
                    from (select \(json) as persons) as given
                    """)
                Console.line(String(try rows.scalar(as: Int64.self)))
                let erased = (try? await runtime.erasures?.count(amongPuts: json)) ?? 0
                if erased > 0 {
                    Console.error(
                        "\(erased) of these \(erased == 1 ? "was" : "were") erased: nothing of them is taken in.")
                }
            }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Import persons from a CSV file, all of them or none.", discussion: ImportArguments.discussion)

        @OptionGroup var arguments: ImportArguments

        func run() async throws {
            try await arguments.run(.persons)
        }
    }

    struct Merge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Merge another record of a person into this one, which stays.",
            discussion: "The stricter of what either decided or said holds. The other identity means this person then.")

        @OptionGroup var pair: MergeArguments

        func run() async throws {
            try await Runtime.with { runtime in
                try await Persons(pool: runtime.pool).merge(pair.other, into: pair.survivor, actor: runtime.actor)
            }
        }
    }

    struct Archive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Archive a person: out of every group, until reactivated.")

        @OptionGroup var person: PersonArguments

        func run() async throws {
            try await person.with { runtime in
                try await Persons(pool: runtime.pool)
                    .archive(source: person.source, id: person.id, actor: runtime.actor)
            }
        }
    }

    struct Reactivate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make an archived person active again.")

        @OptionGroup var person: PersonArguments

        func run() async throws {
            try await person.with { runtime in
                try await Persons(pool: runtime.pool)
                    .reactivate(source: person.source, id: person.id, actor: runtime.actor)
            }
        }
    }

    struct Unsubscribe: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Record that a person wants no mail, from one group or from all, also those made later.")

        @OptionGroup var person: PersonArguments

        @Option(help: "The group; without, every one that there is, linked or not, and every one that is made later.")
        var group: String?

        func run() async throws {
            try await person.with { runtime in
                let groups = try await Persons(pool: runtime.pool)
                    .unsubscribe(source: person.source, id: person.id, group: group, actor: runtime.actor)
                let later = group == nil ? ", and for every one that is made later" : ""
                Console.line("Recorded for \(groups.counted("group"))\(later).")
            }
        }
    }

    struct Invite: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Record that a person who said no asks to be invited again: Mailchimp then asks her.",
            discussion: """
                Only her answer to Mailchimp's mail brings her back. An address that others hold who said no too is mailed \
                once all of them have asked; `koppeling why` shows how far it is.
                """)

        @OptionGroup var person: PersonArguments

        @Option(help: "The group; every linked one that she said no to without.")
        var group: String?

        func run() async throws {
            try await person.with { runtime in
                let groups = try await Persons(pool: runtime.pool)
                    .invite(source: person.source, id: person.id, group: group, actor: runtime.actor)
                Console.line("Recorded for \(groups.counted("group")); `koppeling why` shows how far it is.")
            }
        }
    }
}

/// How a person is named on the command line: as in the system that put the person in.
struct PersonArguments: ParsableArguments {
    @Argument(help: "The system that the person comes from.")
    var source: String

    @Argument(help: "The person's id in that system.")
    var id: String
}
