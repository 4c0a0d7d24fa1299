import ArgumentParser
import Postgres
import TargetGroups

/// `koppeling company`: the companies at which persons have positions.
struct CompanyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "company", abstract: "Put companies in, show and merge them.",
        subcommands: [Put.self, Import.self, Show.self, Merge.self])

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put an array of companies, given as JSON; all of them or none.",
            discussion: "The fields are source, id, name and categories: an absent one stays as it is, null clears it.")

        @Argument(help: "A file with the JSON; - is stdin.")
        var file = "-"

        func run() async throws {
            let json = JSONText(utf8: try await Console.json(of: file, example: "koppeling company put < company.json"))
            try await Runtime.with { runtime in
                Console.line(String(try await Companies(pool: runtime.pool).put(json)))
            }
        }
    }

    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Import companies from a CSV file, all of them or none.", discussion: ImportArguments.discussion)

        @OptionGroup var arguments: ImportArguments

        func run() async throws {
            try await arguments.run(.companies)
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show a company as JSON.")

        @Argument(help: "The system that the company comes from.")
        var source: String

        @Argument(help: "The company's id in that system.")
        var id: String

        func run() async throws {
            try await Runtime.with { runtime in
                guard let company = try await Companies(pool: runtime.pool).find(source: source, id: id) else {
                    throw Failure("There is no company with source \"\(source)\" and id \"\(id)\".")
                }
                Console.line(try JSONText(encoding: company).text)
            }
        }
    }

    struct Merge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Merge another company into this one, which stays: positions, categories and rules go over.")

        @OptionGroup var pair: MergeArguments

        func run() async throws {
            try await Runtime.with { runtime in
                try await Companies(pool: runtime.pool).merge(pair.other, into: pair.survivor, actor: runtime.actor)
            }
        }
    }
}

/// Two records of the same, of which one stays.
struct MergeArguments: ParsableArguments {
    @Argument(help: "The system of the one that stays.")
    var source: String

    @Argument(help: "The id of the one that stays.")
    var id: String

    @Argument(help: "The system of the other.")
    var otherSource: String

    @Argument(help: "The id of the other.")
    var otherID: String

    /// The one that stays.
    var survivor: Identity { Identity(source: source, id: id) }
    /// The one that is merged into it.
    var other: Identity { Identity(source: otherSource, id: otherID) }
}
