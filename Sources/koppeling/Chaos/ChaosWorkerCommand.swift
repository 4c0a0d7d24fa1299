import ArgumentParser
import JobQueue
import Logging
import Postgres
import ServiceLifecycle
import UnixSignals

/// `koppeling chaos-worker`: a worker of the fault test, whose jobs write into the ledger.
struct ChaosWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos-worker", abstract: "A worker of the fault test.", shouldDisplay: false)

    @Argument(help: "What it is called.")
    var name: String

    func run() async throws {
        let settings = try Settings.read()
        guard let url = settings.databaseURL else { throw Failure("DATABASE_URL is not set", code: 2) }
        let logger = Log.logger(settings)
        // Short times, so that a test of a minute sees many deaths and their ends.
        let database = ConnectionSettings(
            url: url, connectTimeout: .seconds(5), statementTimeout: .seconds(5), idleInTransactionTimeout: .seconds(5))
        let pool = Pool(database, maximum: 6, patience: .seconds(10))
        let worker = Worker(
            pool: pool,
            options: Worker.Options(
                name: name, heartbeat: .seconds(1), deadAfter: .seconds(5), slowPoll: .seconds(2),
                gracePeriod: .seconds(3)),
            logger: logger)
        var configuration = ServiceGroupConfiguration(
            services: [LedgerWork(worker: worker, pool: pool, name: name), InputWatch()],
            gracefulShutdownSignals: [.sigterm], logger: logger)
        configuration.maximumGracefulShutdownDuration = .seconds(20)
        configuration.maximumCancellationDuration = .seconds(5)
        try await ServiceGroup(configuration: configuration).run()
    }
}

/// The worker, and what it consumes.
private struct LedgerWork: Service {
    let worker: Worker
    let pool: Pool
    let name: String

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask {
                try await worker.consume(
                    queue: "default",
                    handlers: [LedgerWithin(pool: pool, name: name), LedgerApart(pool: pool, name: name)], batch: 20,
                    concurrentBatches: 3)
            }
            try await group.waitForAll()
        }
    }
}

/// Writes into the ledger in the transaction that completes the jobs: each must be in it once, whatever happens.
///
/// Now and then it fails or puts a job off, so that jobs come back in all ways.
private struct LedgerWithin: JobHandler {
    let pool: Pool
    let name: String
    var kinds: Set<String> { ["chaos.within"] }

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        var others: [Int64: Outcome] = [:]
        for job in jobs {
            switch Int.random(in: 0..<100) {
            case 0..<2: others[job.id] = .retry(after: .milliseconds(200), error: "failed by chance")
            case 2..<4: others[job.id] = .snooze(.milliseconds(300))
            default: break
            }
        }
        let done = jobs.filter { others[$0.id] == nil }
        guard !done.isEmpty else { return others }
        try await pool.transaction { connection in
            let held = try await context.complete(
                Dictionary(uniqueKeysWithValues: done.map { ($0.id, .done()) }), on: connection)
            try await connection.append(done.filter { held.contains($0.id) }, by: name)
        }
        return others
    }
}

/// Writes into the ledger in a transaction of its own: a job is in it twice when its run was cut off after that.
private struct LedgerApart: JobHandler {
    let pool: Pool
    let name: String
    var kinds: Set<String> { ["chaos.apart"] }

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        try await pool.withConnection { connection in try await connection.append(jobs, by: name) }
        return Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, .done()) })
    }
}

extension Connection {
    fileprivate func append(_ jobs: [Job], by worker: String) async throws(PostgresError) {
        try await execute(
            """
            insert into chaos.ledger (job_id, claim, worker)
            select id, claim, \(worker)::text
            from unnest(\(jobs.map(\.id))::bigint[], \(jobs.map(\.claim))::int[]) j (id, claim)
            """)
    }
}
