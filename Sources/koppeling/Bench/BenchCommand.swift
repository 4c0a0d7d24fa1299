import ArgumentParser
import Logging

/// `koppeling bench`: measures this very program, on databases that it makes itself.
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure: see docs/performance.md for what the figures mean.", shouldDisplay: false)

    enum Name: String, ExpressibleByArgument, CaseIterable { case sync }

    @Argument(help: "sync: from a file of persons to the list.")
    var name: Name

    @Flag(help: "One JSON object a line, instead of a table.")
    var json = false

    @Flag(help: "A tenth of the work.")
    var quick = false

    func run() async throws {
        let settings = try Settings.read()
        var logger = Log.logger(settings)
        logger.logLevel = .warning
        switch name {
        case .sync:
            try await StandInWorld.with(logger: logger, listen: settings.listen) { world in
                try await SyncBench(world: world, persons: quick ? 10_000 : 100_000, json: json).run()
            }
        }
    }
}

/// One figure of a benchmark, with the aim it is held against when there is one.
struct Figure: Encodable {
    var bench: String
    var figure: String
    var value: Double
    var unit: String
    var aim: Double?
    var met: Bool?
}
