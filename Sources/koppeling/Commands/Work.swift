import ArgumentParser
import Connector
import IO
import JobQueue
import Logging
import Postgres
import ServiceLifecycle
import TargetGroups

/// `koppeling work`: one worker process; any number may run on one database.
struct Work: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a worker: evaluation, and an actor for every enabled instance.",
        discussion: """
            Works until SIGTERM or SIGINT; then it finishes or gives back what it began. With KOPPELING_METRICS_LISTEN it \
            shows its figures at /metrics there, and its health at /health/live and /health/ready.
            """)

    @Flag(help: .hidden)
    var untilInputEnds = false

    func run() async throws {
        try await Runtime.with(connections: 24) { runtime in
            let services = try LinkServices(runtime)
            defer { services.shutdown() }
            var running: [any Service] = []
            if let monitor = runtime.monitor() { running.append(monitor) }
            running.append(runtime.workerService(services))
            if untilInputEnds { running.append(InputWatch()) }
            try await runtime.run(running)
        }
    }
}

/// Ends the program gracefully when its stdin does: a worker that was started by a demonstration ends with it.
struct InputWatch: Service {
    func run() async throws {
        await cancelWhenGracefulShutdown {
            while await Console.chunk() != nil {}
        }
    }
}

/// Everything that a worker process does.
struct WorkerService: Service {
    let runtime: Runtime
    let worker: Worker
    let accounts: Accounts
    let vault: Vault

    func run() async throws {
        let webhooks = runtime.settings.publicURL.map { WebhookAddress(publicURL: $0) }
        let switchboard = Switchboard(
            pool: runtime.pool, worker: worker, accounts: accounts, webhooks: webhooks, logger: runtime.logger)
        let pool = runtime.pool
        // What is not planned now is planned by the worker that starts next.
        _ = try? await pool.query("select koppeling.plan_group_checks()")
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await worker.run() }
            group.addTask {
                try await worker.consume(
                    queue: "default",
                    handlers: [
                        EvaluateHandler(pool: pool), PutPersonsHandler(pool: pool), PullRequestHandler(pool: pool),
                        ErasureHandler(pool: pool, vault: vault),
                        LastLookHandler(pool: pool, accounts: accounts, worker: worker), EchoHandler(),
                    ])
            }
            // A consumption of its own: no edit waits while a large plan is applied.
            group.addTask { try await worker.consume(queue: "default", handlers: [ApplyPlanHandler(pool: pool)]) }
            // And so while all groups are looked at.
            group.addTask { try await worker.consume(queue: "default", handlers: [CheckGroupsHandler(pool: pool)]) }
            group.addTask { await cancelWhenGracefulShutdown { try? await switchboard.run() } }
            try await group.waitForAll()
        }
    }
}

extension Runtime {
    /// The worker of this process.
    func workerService(_ services: LinkServices) -> WorkerService {
        WorkerService(
            runtime: self, worker: Worker(pool: pool, listenSettings: direct, logger: logger),
            accounts: services.accounts, vault: services.vault)
    }
}
