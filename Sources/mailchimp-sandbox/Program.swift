import ArgumentParser
import Glibc
import Logging
import MailchimpSandbox
import ServiceLifecycle
import UnixSignals

/// The sandbox as a program.
@main
struct Program: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mailchimp-sandbox",
        abstract: "A stand-in for Mailchimp's Marketing API, with all state in memory.",
        discussion: """
            The API is under /3.0/, OAuth2 under /oauth2/. The page at / shows the lists, their members and every call as \
            it comes; there you act as a contact, and make calls fail. The control door under /sandbox/ does the same \
            for tests; GET /sandbox/ lists what it has. SIGTERM and SIGINT stop it, and everything is forgotten.

            Try: mailchimp-sandbox --list Newsletter --latency realistic
            """)

    @Option(help: "The address to listen on.")
    var host = "127.0.0.1"

    @Option(help: "The port to listen on; 0 takes a free one.")
    var port = 8086

    @Option(help: "The API key of the first account; its end names the data centre.")
    var key = "00000000000000000000000000000001-us1"

    @Option(help: "The name of the first account.")
    var account = "Sandbox"

    @Option(
        name: .customLong("list"), help: "A list to start with; may be given several times. Newsletter when none is.")
    var lists: [String] = []

    @Option(help: "How long calls take: none or realistic (350 ms a call; more for bulk calls and pages).")
    var latency = Latency.none

    @Option(help: "The side to take where the real API's behaviour is uncertain: likely, permissive or strict.")
    var switches = Switches.likely

    @Option(help: "The most calls that one user may have in flight.")
    var connections = 10

    @Option(help: "The seed of identifiers and faults, to repeat a run.")
    var seed: UInt64?

    @Option(help: "What the clock shows at the start, such as 2026-01-31T09:00:00Z; otherwise the real time.")
    var clock: StartTime?

    @Flag(help: "Open the control door to other machines than this one.")
    var openControl = false

    enum Latency: String, ExpressibleByArgument, CaseIterable {
        case none, realistic
    }

    enum Switches: String, ExpressibleByArgument, CaseIterable {
        case likely, permissive, strict
    }

    /// An instant as ISO 8601 writes it.
    struct StartTime: ExpressibleByArgument {
        let seconds: Int

        init?(argument: String) {
            guard let seconds = SandboxConfiguration.seconds(iso8601: argument) else { return nil }
            self.seconds = seconds
        }
    }

    func run() async throws {
        let sandbox = MailchimpSandbox(configuration: settings) { [host, key] sandbox, port in
            print("mailchimp-sandbox listens on http://\(host):\(port)/3.0/")
            print("page  http://\(host):\(port)/")
            print("key   \(key)")
            for list in await sandbox.lists() { print("list  \(list.id)  \(list.name)") }
            // Into a file or a pipe the lines would otherwise wait for more.
            fflush(nil)
        }
        let group = ServiceGroup(
            services: [sandbox], gracefulShutdownSignals: [.sigterm, .sigint],
            logger: Logger(label: "mailchimp-sandbox"))
        do {
            try await group.run()
        } catch {
            throw Failure(
                message: "cannot serve on \(host):\(port): \(error); choose another address with --host and --port")
        }
    }

    private var settings: SandboxConfiguration {
        var settings = SandboxConfiguration()
        settings.host = host
        settings.port = port
        settings.key = key
        settings.accountName = account
        settings.lists = lists.isEmpty ? ["Newsletter"] : lists
        settings.connectionsPerUser = connections
        settings.seed = seed
        settings.startsAt = clock?.seconds
        settings.controlDoorIsOpen = openControl
        if latency == .realistic { settings.latency = .realistic }
        switch switches {
        case .likely: break
        case .permissive: settings.switches = .permissive
        case .strict: settings.switches = .strict
        }
        return settings
    }
}

/// The one line that the program ends with when it cannot go on.
private struct Failure: Error, CustomStringConvertible {
    let message: String

    var description: String { message }
}
