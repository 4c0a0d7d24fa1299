import ArgumentParser
import Connector
import Postgres

/// `koppeling merge-field`: what fills the merge fields of a list.
struct MergeFieldCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge-field", abstract: "Say which field of a person fills which merge field of a list.",
        subcommands: [List.self, Map.self, Unmap.self, Gender.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the merge fields of an instance's list, what fills them, and what is wrong with that.",
            discussion: "Reads them from Mailchimp first; with --offline, what was read last.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Flag(help: "Do not ask Mailchimp.")
        var offline = false

        @Option(help: "Go on after this tag.")
        var after = ""

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await LinkServices.with { runtime, services in
                let found = try await services.instances.find(instance)
                if !offline { try await services.mergeFields.refresh(instance: found) }
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select tag, name, type, required, source, triggers, fault from koppeling.merge_fields
                    where instance_id = \(found.id)::bigint and tag > \(after)::text
                    order by tag
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Map: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a field of the persons fill a merge field; whoever has another value gets it.",
            discussion: "What would empty the field for many waits in a plan.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Argument(help: "The merge field's tag, such as COMPANY.")
        var tag: String

        @Argument(
            help: """
                first_name, last_name, given_name, initials, prefixes, family_name, gender, salutation, function, \
                department or company.
                """)
        var source: String

        @Option(help: "Make the field under this name where the list has none of this tag.")
        var make: String?

        @Flag(help: "A change of it alone is no reason for an update: it goes along with the next one.")
        var silent = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                try await services.mergeFields.map(
                    tag, to: source, triggers: !silent, makingNamed: make,
                    instance: try await services.instances.find(instance), actor: runtime.actor)
            }
        }
    }

    struct Unmap: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Leave a merge field to the list; what stands in it stays.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Argument(help: "The merge field's tag.")
        var tag: String

        func run() async throws {
            try await LinkServices.with { runtime, services in
                try await services.mergeFields.unmap(
                    tag, instance: try await services.instances.find(instance), actor: runtime.actor)
            }
        }
    }

    struct Gender: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say what a gender is called in a list, and which title a salutation has.",
            discussion: "With the instance alone it shows what they are called.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Argument(help: "male, female, other or unknown; or man, vrouw, anders or onbekend.")
        var gender: String?

        @Argument(help: "Its word; empty for none.")
        var text: String?

        @Option(help: "The title, such as mevrouw; empty for none. It stays as it is without.")
        var title: String?

        @Flag(help: "With the instance alone: one JSON object a line, instead of a table.")
        var json = false

        func validate() throws {
            guard (gender == nil) == (text == nil) else { throw ValidationError("give the gender and its word") }
        }

        func run() async throws {
            try await Runtime.with { runtime in
                guard let gender, let text else {
                    return try await Listing.show(
                        """
                        \(unsafe: Listing.open)
                        select gender, text, title from koppeling.gender_text
                        where instance_id = koppeling.require_instance(\(instance)::text)
                        order by gender
                        \(unsafe: Listing.close)
                        """, from: runtime.pool, json: json)
                }
                _ = try await runtime.pool.query(
                    """
                    select koppeling.set_gender_text(\(instance)::text, \(gender)::text, \(text)::text,
                        \(title)::text, \(runtime.actor)::text)
                    """)
            }
        }
    }
}
