import ArgumentParser
import Connector
import Mailchimp
import Postgres

/// `koppeling account`: the Mailchimp accounts this deployment is connected with.
struct AccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account", abstract: "Connect and list Mailchimp accounts.",
        subcommands: [Connect.self, List.self, Lists.self])

    struct Connect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Connect an account by an API key, read from stdin so that no other process sees it.",
            discussion:
                "The same login again takes the new key. Make a key in Mailchimp under Account, Extras, API keys.")

        @Option(help: "What to call the account; Mailchimp's name of it without.")
        var name: String?

        func run() async throws {
            let key = String(decoding: try await Console.input(), as: UTF8.self).filter { !$0.isWhitespace }
            try await LinkServices.with { _, services in
                let account = try await services.accounts.connect(apiKey: key, name: name)
                Console.line("\(account.id)  \(account.name)  \(account.dataCentre)")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the connected accounts.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, name, data_centre, authenticated, created_at from koppeling.mailchimp_account
                    order by name
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Lists: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the lists (audiences) of an account.")

        @Argument(help: "The account's name or number.")
        var account: String

        func run() async throws {
            try await LinkServices.with { _, services in
                let lists = try await services.instances.lists(account: try await services.accounts.find(account))
                for list in lists { Console.line("\(list.id)  \(list.name)") }
                if lists.isEmpty { Console.error("The account has no list: make one in Mailchimp first.") }
            }
        }
    }
}
