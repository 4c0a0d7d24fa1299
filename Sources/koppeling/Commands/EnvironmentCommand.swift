import ArgumentParser
import Connector
import Postgres

/// `koppeling environment`: training or production, and whether this is the deployment that was confirmed.
struct EnvironmentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "environment", abstract: "Show and confirm which deployment this is; restrict training.",
        subcommands: [Show.self, Confirm.self, Addresses.self, Noes.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what was confirmed, what differs since, and the addresses that training takes.")

        @Flag(help: "As one JSON object.")
        var json = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                _ = try await services.accounts.deployment.check()
                try await Listing.showOne(
                    """
                    \(unsafe: Listing.open)
                    select d.environment, d.confirmed_at, d.confirmed_by, d.changed, d.changed_at,
                        d.noes_for_all_lists,
                        array(select t.pattern from koppeling.training_address t order by t.pattern)
                            as addresses
                    from koppeling.deployment d
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: json)
            }
        }
    }

    struct Confirm: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that this database, key and environment are the deployment from now on.",
            discussion: "The instances stay off until they are turned on; in training they are dry runs.")

        func run() async throws {
            try await LinkServices.with { runtime, services in
                try await services.accounts.deployment.confirm(actor: runtime.actor)
                Console.line("Confirmed as \(runtime.settings.environment.rawValue). Turn instances on one by one.")
            }
        }
    }

    struct Addresses: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show which addresses training lets into a list, or say which.",
            discussion: "With patterns only such addresses may be written to, in place of those named before.")

        @Argument(help: "Patterns such as *@test.example.org; without any, those that hold are shown.")
        var patterns: [String] = []

        @Flag(help: "Every address may be written to again.")
        var all = false

        func validate() throws {
            guard patterns.isEmpty || !all else { throw ValidationError("give patterns or --all, not both") }
        }

        func run() async throws {
            try await LinkServices.with { runtime, services in
                let deployment = services.accounts.deployment
                if all || !patterns.isEmpty {
                    try await deployment.setTrainingAddresses(patterns, actor: runtime.actor)
                }
                let held = try await deployment.trainingAddresses()
                if !held.isEmpty, runtime.settings.environment == .production {
                    Console.error(
                        "This is production: patterns hold in training only, and here every address is written to.")
                }
                for line in held.isEmpty ? ["Every address may be written to."] : held { Console.line(line) }
            }
        }
    }
}

extension EnvironmentCommand {
    struct Noes: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let a complaint or an unsubscribe hold in every linked list, or only in the one it was said to.",
            discussion: "Turned on, what is open goes to all lists at once; turned off, it stays where it is by then.")

        @Option(help: "on or off.")
        var allLists: Setting

        enum Setting: String, ExpressibleByArgument, CaseIterable { case on, off }

        func run() async throws {
            try await LinkServices.with { runtime, services in
                let carried = try await services.accounts.deployment.applyNoesToAllLists(
                    allLists == .on, actor: runtime.actor)
                Console.line("\(carried) entries were carried to other lists.")
            }
        }
    }
}
