import ArgumentParser
import Connector
import FoundationEssentials

extension AccountCommand {
    struct Connect: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Connect an account, by an API key from stdin or by OAuth.",
            discussion: """
                The key is read from stdin so that no other process sees it; make one in Mailchimp under Account, Extras, \
                API keys. With --oauth an address is printed: open it in a browser and allow the access there; the command \
                waits for it, at most twenty minutes. A login that is connected already is refused: see account renew.
                """)

        @Flag(help: "Ask for access in a browser instead of by a key.")
        var oauth = false

        @Option(help: "What to call the account; Mailchimp's name of it without.")
        var name: String?

        func validate() throws {
            if let name, name.allSatisfy(\.isWhitespace) { throw ValidationError("--name is empty") }
        }

        func run() async throws {
            try await LinkServices.with { runtime, services in
                if oauth {
                    try await AccountCommand.connect(name: name, renewing: nil, runtime, services)
                } else {
                    AccountCommand.show(
                        try await services.accounts.connect(apiKey: try await AccountCommand.key(), name: name))
                }
            }
        }
    }

    struct Renew: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give an account another credential of the same login, by an API key from stdin or by OAuth.",
            discussion: "Whatever waited for it goes on. The credential of another login is refused.")

        @Argument(help: "The account's name or number.")
        var account: String

        @Flag(help: "Ask for access in a browser instead of by a key.")
        var oauth = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                let account = try await services.accounts.find(account)
                if oauth {
                    try await AccountCommand.connect(name: nil, renewing: account, runtime, services)
                } else {
                    AccountCommand.show(
                        try await services.accounts.renew(account, apiKey: try await AccountCommand.key()))
                }
            }
        }
    }

    private static func key() async throws -> String {
        String(decoding: try await Console.input(), as: UTF8.self).filter { !$0.isWhitespace }
    }

    private static func show(_ account: Accounts.Account) {
        Console.line("\(account.id)  \(account.name)  \(account.dataCentre)")
    }

    /// Prints the address that connects, and waits until somebody has been there.
    private static func connect(
        name: String?, renewing account: Accounts.Account?, _ runtime: Runtime, _ services: LinkServices
    ) async throws {
        guard let url = runtime.settings.publicURL else {
            throw Failure(
                "KOPPELING_PUBLIC_URL is not set: set it to where the service center is reached, such as "
                    + "http://127.0.0.1:8080 on this machine.")
        }
        guard !url.hasPrefix("http://localhost") else {
            throw Failure("KOPPELING_PUBLIC_URL names localhost, which Mailchimp does not take: write 127.0.0.1.")
        }
        let (id, ticket) = try await services.tickets.make(name: name, renewing: account)
        Console.error("Open this address in a browser within ten minutes:")
        Console.line("\(url)/accounts/connect/\(ticket)")
        show(try await services.tickets.wait(for: id))
    }
}
