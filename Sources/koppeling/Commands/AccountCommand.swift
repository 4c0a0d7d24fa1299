import ArgumentParser
import Connector
import Mailchimp
import Postgres

/// `koppeling account`: the Mailchimp accounts this deployment is connected with.
struct AccountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "account", abstract: "Connect Mailchimp accounts, see how they are, renew their credentials.",
        subcommands: [
            Connect.self, Renew.self, List.self, Show.self, Lists.self, Budget.self, Disconnect.self, Rekey.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the connected accounts.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select id, account, data_centre, credential, authenticated, instances, budget, allowed_now,
                        calls_in_flight, created_at
                    from koppeling.account_status
                    order by account
                    limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show everything about an account but its credential.")

        @Argument(help: "The account's name or number.")
        var account: String

        @Flag(help: "One JSON object instead of lines.")
        var json = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                let id = try await services.accounts.find(account).id
                try await Listing.showOne(
                    """
                    \(unsafe: Listing.open)
                    select * from koppeling.account_status where id = \(id)::bigint
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: json)
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

    struct Budget: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set how many calls to Mailchimp may be under way at once for an account's login.",
            discussion:
                "Over all workers and instances. Mailchimp allows a login 10, which it shares with whatever else uses it."
        )

        @Argument(help: "The account's name or number.")
        var account: String

        @Argument(help: "From 1 to 10.")
        var budget: Int

        func run() async throws {
            try await LinkServices.with { _, services in
                try await services.accounts.setBudget(
                    budget, account: try await services.accounts.find(account))
            }
        }
    }

    struct Disconnect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget an account that no instance uses.",
            discussion: "Its key or access stays good at Mailchimp until it is revoked there.")

        @Argument(help: "The account's name or number.")
        var account: String

        func run() async throws {
            try await LinkServices.with { _, services in
                try await services.accounts.disconnect(try await services.accounts.find(account))
            }
        }
    }

    struct Rekey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Seal every stored secret anew with KOPPELING_SECRET_KEY.",
            discussion: """
                Give all processes the new key as KOPPELING_SECRET_KEY and the old one as KOPPELING_SECRET_KEY_PREVIOUS, \
                run this, and take the old one away. It may be broken off and run again; workers need not stop.
                """)

        func run() async throws {
            try await LinkServices.with { _, services in
                let (resealed, closed) = try await services.sealed.reseal()
                let census = try await services.sealed.census()
                Console.line("\(resealed) sealed anew; \(census.current) are sealed with the present key.")
                guard closed.isEmpty else {
                    throw Failure(
                        "\(closed.count) cannot be opened, among them \(closed[0]): add the key that sealed it to "
                            + "KOPPELING_SECRET_KEY_PREVIOUS and run this again.")
                }
            }
        }
    }
}
