import ArgumentParser
import Postgres
import ServiceCenter

/// `koppeling token`: the bearer tokens of the HTTP API.
struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Make, list and revoke the tokens of the HTTP API.",
        subcommands: [Create.self, List.self, Revoke.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token; it is shown this once and never again.",
            discussion: """
                Give it no more rights than it needs:
                  enqueue   put jobs into the queue
                  read      see jobs with their args, and how the queue stands
                  operate   cancel, retry, pause, limit and schedule jobs
                  persons   put persons and companies; change, merge, unsubscribe and erase persons
                  groups    see and change target groups, their rules, and what was decided by hand
                  link      see and steer the link: plans, actions, tasks, instances, merge fields
                  disclose  see all that is held on a person; with groups or link also whom their lists are about
                """)

        @Argument(help: "Who it is for; a name of your choice.")
        var name: String

        @Option(
            help: "A right; repeat it for more. Enqueue alone without.",
            transform: right)
        var may: [TokenRight] = []

        func run() async throws {
            try await Runtime.with { runtime in
                let rights = may.isEmpty ? [.enqueue] : Set(may)
                Console.line(try await APITokens(pool: runtime.pool).create(name: name, rights: rights))
            }
        }
    }

    private static func right(_ name: String) throws -> TokenRight {
        guard let right = TokenRight(rawValue: name) else {
            let rights = TokenRight.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--may is one of \(rights), not \(name)")
        }
        return right
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the tokens, without the tokens themselves.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select name, rights, created_at, last_used_at, revoked_at from koppeling.api_token
                    order by id desc
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a token worthless at once.")

        @Argument(help: "The name it was made with.")
        var name: String

        func run() async throws {
            try await Runtime.with { try await APITokens(pool: $0.pool).revoke(name: name) }
        }
    }
}
