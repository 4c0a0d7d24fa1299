import ArgumentParser
import Postgres
import TargetGroups

/// `koppeling position`: positions of persons.
struct PositionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "position", abstract: "Give persons their positions.", subcommands: [Import.self])

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Import positions from a CSV file; the lines of a person together are all that she has.",
            discussion: ImportArguments.discussion)

        @OptionGroup var arguments: ImportArguments

        func run() async throws {
            try await arguments.run(.positions)
        }
    }
}

/// `koppeling category`: categories of persons.
struct CategoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "category", abstract: "Give persons their categories.", subcommands: [Import.self])

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract:
                "Import persons' categories from a CSV file; the lines of a person together are all that she has.",
            discussion: ImportArguments.discussion)

        @OptionGroup var arguments: ImportArguments

        func run() async throws {
            try await arguments.run(.categories)
        }
    }
}

/// `koppeling value`: what persons and companies have and rules ask for.
struct ValueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "value", abstract: "List what rules can ask for; rename functions, departments and categories.",
        subcommands: [List.self, Rename.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the values of a kind by name, as rules name them.")

        @Argument(
            help: "function, department, company, personCategory (\"Group / Name\") or companyCategory.",
            transform: { text in
                guard let kind = Criterion.Kind(rawValue: text) else {
                    throw ValidationError(
                        "\(text) is none of \(Criterion.Kind.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                return kind
            })
        var kind: Criterion.Kind

        @Option(help: "Only those whose name begins so.")
        var prefix = ""

        @Option(help: "Go on after this name: the next page.")
        var after: String?

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select name from koppeling.list_values(
                        \(kind.rawValue)::text, \(prefix)::text, \(after)::text, \(listing.limit)::bigint)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Rename: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a value another name; nobody moves by it, and a name that is taken is refused.")

        @Argument(
            help: "function, department, personCategory (\"Group / Name\") or companyCategory.",
            transform: { text in
                guard let kind = ValueKind(rawValue: text) else {
                    throw ValidationError(
                        "\(text) is none of \(ValueKind.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                return kind
            })
        var kind: ValueKind

        @Argument(help: "The name it has.")
        var old: String

        @Argument(help: "The name it is to have.")
        var new: String

        func run() async throws {
            try await Runtime.with { runtime in
                try await Values(pool: runtime.pool).rename(kind, old, to: new)
            }
        }
    }
}
