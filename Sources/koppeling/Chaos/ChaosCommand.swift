import ArgumentParser
import EmbeddedPostgres
import FoundationEssentials
import Glibc
import Logging
import Postgres

/// `koppeling chaos`: breaks what can break while work is done, and looks whether any of it was lost.
struct ChaosCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos", abstract: "Break things on purpose: see docs/job-queue.md.", shouldDisplay: false)

    enum Name: String, ExpressibleByArgument, CaseIterable { case queue, sync }

    @Argument(
        help: "queue: workers, connections and the server, while jobs run. sync: persons, contacts, calls and workers.")
    var name: Name

    @Option(help: "How long things are broken.")
    var minutes: Double?

    @Option(help: "How many jobs are run meanwhile.")
    var jobs: Int?

    @Option(help: "sync: likely, permissive or strict, what Mailchimp lets through; all three without.")
    var preset: String?

    @Flag(help: "A short form: half a minute and 10,000 jobs, or ten seconds of each preset.")
    var quick = false

    @Flag(help: "One JSON object a line, instead of a table.")
    var json = false

    func run() async throws {
        if name == .sync { return try await sync() }
        let minutes = minutes ?? (quick ? 0.5 : 5)
        let jobs = jobs ?? (quick ? 10_000 : 100_000)
        guard minutes > 0, minutes <= 120, jobs > 0, jobs <= 10_000_000 else {
            throw Failure("--minutes may be up to 120 and --jobs up to 10000000", code: 2)
        }
        var logger = Log.logger(try Settings.read())
        logger.logLevel = .error
        let folder = "/tmp/koppeling-chaos-\(getpid())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let embedded = EmbeddedPostgres(directory: folder + "/postgres", logger: logger)
        let result: Result<ChaosReport, any Error>
        do {
            let database = try await embedded.start()
            let proxy = try await FaultyProxy.start(to: folder + "/postgres/socket/.s.PGSQL.5432")
            let chaos = QueueChaos(
                folder: folder, database: database, pool: Pool(database, maximum: 4), embedded: embedded, proxy: proxy,
                jobs: jobs, time: .seconds(minutes * 60))
            result = .success(try await chaos.run())
            await chaos.pool.close()
            await proxy.stop()
        } catch {
            result = .failure(error)
        }
        await embedded.stop()
        let report = try result.get()
        report.show(json: json)
        guard report.isGood else { throw Failure("chaos: something was lost, see above") }
        if !json { Console.line("chaos: ok") }
    }

    private func sync() async throws {
        let presets = preset.map { [$0] } ?? ["likely", "permissive", "strict"]
        let minutes = minutes ?? (quick ? 0.4 : 6)
        guard minutes > 0, minutes <= 600, Set(presets).isSubset(of: ["likely", "permissive", "strict"]) else {
            throw Failure("--minutes may be up to 600, and --preset is likely, permissive or strict", code: 2)
        }
        let given = ProcessInfo.processInfo.environment["KOPPELING_SEED"].flatMap { UInt64($0) }
        var logger = Log.logger(try Settings.read())
        logger.logLevel = .error
        for preset in presets {
            let seed = given ?? UInt64.random(in: 0...UInt64(Int.max))
            if !json { Console.line("\(preset): KOPPELING_SEED=\(seed)") }
            let chaos = SyncChaos(
                seed: seed, preset: preset, time: .seconds(minutes * 60 / Double(presets.count)),
                families: quick ? 8 : 20, logger: logger)
            let report = try await chaos.run()
            report.show(json: json)
            guard report.isGood else { throw Failure("chaos: see above; KOPPELING_SEED=\(seed) repeats what was done") }
        }
        if !json { Console.line("chaos: ok") }
    }
}
