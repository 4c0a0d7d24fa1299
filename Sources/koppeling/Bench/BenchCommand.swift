import ArgumentParser
import Logging
import Postgres

/// `koppeling bench`: measures this very program, on databases that it makes itself.
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure: see docs/performance.md for what the figures mean.", shouldDisplay: false)

    enum Name: String, ExpressibleByArgument, CaseIterable { case sync, evaluate }

    @Argument(help: "sync: from a file of persons to the list; evaluate: what rules, plans and imports cost.")
    var name: Name

    @Flag(help: "One JSON object a line, instead of a table.")
    var json = false

    @Flag(help: "Less work.")
    var quick = false

    @Option(help: "A Python that has Mailchimp's client, to compare with.")
    var python: String?

    @Option(help: "Milliseconds that a single call takes; 350 without.")
    var single: Double?

    @Option(help: "Milliseconds that a bulk call takes; 1500 without.")
    var bulk: Double?

    @Option(help: "Milliseconds that each member adds to a bulk call; 3 without.")
    var bulkMember: Double?

    @Option(help: "Milliseconds that a page of members takes; 350 without.")
    var page: Double?

    @Option(help: "Milliseconds that each member adds to a page; 1 without.")
    var pageMember: Double?

    func run() async throws {
        let settings = try Settings.read()
        var logger = Log.logger(settings)
        logger.logLevel = .warning
        switch name {
        case .sync:
            try await StandInWorld.with(logger: logger, listen: settings.listen, lists: SyncBench.lists) { world in
                try await SyncBench(
                    world: world, size: quick ? .quick : .init(), latency: latency, python: python,
                    show: Figures(bench: "sync", json: json)
                ).run()
            }
        case .evaluate:
            let show = Figures(bench: "evaluate", json: json)
            let persons = quick ? 100_000 : 1_000_000
            try await onDatabase(settings, logger) { pool, _ in
                try await EvaluateBench(pool: pool, persons: persons, show: show).run()
            }
            try await onDatabase(settings, logger) { pool, _ in
                try await PlanBench(pool: pool, lines: persons / 10, show: show).run()
            }
            try await onDatabase(settings, logger) { pool, folder in
                try await ImportBench(pool: pool, folder: folder, persons: persons, show: show).run()
            }
        }
    }

    /// Gives each part a database of its own, whose connections have no limit of time.
    private func onDatabase(
        _ settings: Settings, _ logger: Logger, _ body: @Sendable (Pool, String) async throws -> Void
    ) async throws {
        try await StandInWorld.with(logger: logger, listen: settings.listen, lists: []) { world in
            try await world.program.run("migrate")
            var patient = world.database
            patient.statementTimeout = nil
            let pool = Pool(patient, maximum: 2)
            let result: Result<Void, any Error>
            do { result = .success(try await body(pool, world.folder)) } catch { result = .failure(error) }
            await pool.close()
            try result.get()
        }
    }

    /// What was asked for, and what the real Mailchimp takes for the rest.
    private var latency: SyncBench.Latency {
        var latency = SyncBench.Latency()
        if let single { latency.single = single }
        if let bulk { latency.bulk = bulk }
        if let bulkMember { latency.bulk_member = bulkMember }
        if let page { latency.page = page }
        if let pageMember { latency.page_member = pageMember }
        return latency
    }
}
