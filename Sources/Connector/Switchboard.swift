import IO
public import JobQueue
public import Logging
public import Postgres

/// Starts a ``ConnectorInstance`` for every enabled instance of the database, and ends it when it is disabled.
public struct Switchboard: Sendable {
    private let pool: Pool
    private let worker: Worker
    private let accounts: Accounts
    private let permits: Permits
    private let webhooks: WebhookAddress?
    private let logger: Logger
    private let running = Locked<Set<Int64>>([])

    /// For a database and the process's worker, which claims the jobs of the instances.
    public init(pool: Pool, worker: Worker, accounts: Accounts, webhooks: WebhookAddress?, logger: Logger) {
        self.pool = pool
        self.worker = worker
        self.accounts = accounts
        self.permits = Permits(pool: pool, worker: worker)
        self.webhooks = webhooks
        self.logger = logger
    }

    /// How often it looks at which instances are enabled.
    private static let interval = Duration.seconds(3)

    /// Runs until it is cancelled; a graceful shutdown of the worker ends the instances' consumers.
    public func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            while !Task.isCancelled {
                for id in try await enabled() where running.withLock({ $0.insert(id).inserted }) {
                    group.addTask {
                        await self.serve(id)
                        self.running.withLock { _ = $0.remove(id) }
                    }
                }
                try await Task.sleep(for: Self.interval)
            }
        }
    }

    /// One instance, until it is disabled.
    ///
    /// What goes wrong with it ends it alone: the next look starts it again.
    private func serve(_ id: Int64) async {
        let instance = ConnectorInstance(
            id: id, pool: pool, accounts: accounts, permits: permits, webhooks: webhooks, logger: logger)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await self.worker.consume(
                        queue: instance.queue, handlers: [ActionHandler(instance: instance)], batch: 500)
                }
                group.addTask {
                    try await self.worker.consume(
                        queue: instance.queue,
                        handlers: [PullHandler(instance: instance), WebhookHandler(instance: instance)], batch: 10,
                        concurrentBatches: 2)
                }
                group.addTask { try await self.watch(id) }
                try await requestFirstPull(id)
                try await group.next()
                group.cancelAll()
            }
        } catch is CancellationError {
            return
        } catch {
            logger.error(
                "an instance stopped and is started again", metadata: ["instance": "\(id)", "error": "\(error)"])
        }
    }

    /// Returns when the instance is no longer enabled.
    private func watch(_ id: Int64) async throws {
        while try await enabled().contains(id) {
            try await Task.sleep(for: Self.interval)
        }
    }

    /// At start, whatever came while nobody listened is read.
    private func requestFirstPull(_ id: Int64) async throws {
        try await pool.query("select koppeling.request_pull(\(id)::bigint, false, koppeling.now())")
    }

    private func enabled() async throws -> [Int64] {
        let rows = try await pool.query(
            "select id from koppeling.connector_instance where enabled order by id limit 1000")
        return try rows.map { try $0.decode("id") }
    }
}
