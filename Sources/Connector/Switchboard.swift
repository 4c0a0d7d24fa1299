import IO
public import JobQueue
public import Logging
public import Postgres

/// Starts a ``ConnectorInstance`` for every enabled instance of the database, and ends it when it is disabled; one that is
/// disabled does what nobody may hold up.
public struct Switchboard: Sendable {
    private let pool: Pool
    private let worker: Worker
    private let accounts: Accounts
    private let permits: Permits
    private let webhooks: WebhookAddress?
    private let logger: Logger
    private let running = Locked<Set<Int64>>([])
    /// How the deployment differs from what was confirmed, as the log was told.
    private let told = Locked<String?>(nil)

    /// For a database and the process's worker, which claims the jobs of the instances.
    public init(pool: Pool, worker: Worker, accounts: Accounts, webhooks: WebhookAddress?, logger: Logger) {
        self.pool = pool
        self.worker = worker
        self.accounts = accounts
        self.permits = Permits(pool: pool, worker: worker)
        self.webhooks = webhooks
        self.logger = logger
    }

    /// Batches of one instance's actions under way at once: the permits that an account has by default, and some that are
    /// prepared or recorded meanwhile, so that no permit stands idle.
    private static let concurrentBatches = 8

    /// How often it looks at which instances are enabled.
    private static let interval = Duration.seconds(3)

    /// Runs until it is cancelled; a graceful shutdown of the worker ends the instances' consumers.
    public func run() async throws {
        try await withThrowingDiscardingTaskGroup { group in
            while !Task.isCancelled {
                for (id, duty) in try await duties() where running.withLock({ $0.insert(id).inserted }) {
                    group.addTask {
                        await self.serve(id, duty)
                        self.running.withLock { _ = $0.remove(id) }
                    }
                }
                try await Task.sleep(for: Self.interval)
            }
        }
    }

    /// What an instance does: all, or, while it is turned off, only what nobody may hold up.
    private enum Duty { case everything, erasing }

    /// One instance, until its duty is another.
    ///
    /// What goes wrong with it ends it alone: the next look starts it again.
    private func serve(_ id: Int64, _ duty: Duty) async {
        let instance = ConnectorInstance(
            id: id, pool: pool, accounts: accounts, permits: permits, webhooks: webhooks, logger: logger)
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    let handler =
                        duty == .erasing
                        ? ActionHandler(instance: instance, kinds: ["erase"]) : ActionHandler(instance: instance)
                    try await self.worker.consume(
                        queue: instance.queue, handlers: [handler], batch: 500,
                        concurrentBatches: Self.concurrentBatches)
                }
                if duty == .everything {
                    try await requestFirstPull(id)
                    group.addTask {
                        try await self.worker.consume(
                            queue: instance.queue,
                            handlers: [PullHandler(instance: instance), WebhookHandler(instance: instance)], batch: 10,
                            concurrentBatches: 2)
                    }
                }
                group.addTask { try await self.watch(id, duty) }
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

    /// Returns when the instance has another duty, or none.
    private func watch(_ id: Int64, _ duty: Duty) async throws {
        while try await duties()[id] == duty {
            try await Task.sleep(for: Self.interval)
        }
    }

    /// At start, whatever came while nobody listened is read.
    private func requestFirstPull(_ id: Int64) async throws {
        try await pool.query("select koppeling.request_pull(\(id)::bigint, false, koppeling.now())")
    }

    private func duties() async throws -> [Int64: Duty] {
        // Another database, key or environment than was confirmed: nobody works, not even at erasing.
        let difference = try await accounts.deployment.check()
        let isNews = told.withLock { told in
            defer { told = difference }
            return told != difference
        }
        guard difference == nil else {
            if isNews, let difference {
                logger.warning(
                    "this is not the deployment that was confirmed, so every instance is off: see koppeling environment",
                    metadata: ["difference": "\(difference)"])
            }
            return [:]
        }
        let rows = try await pool.query(
            """
            select i.id, i.enabled
            from koppeling.connector_instance i
            where i.enabled
               or i.id in (select m.instance_id from koppeling.audience_member m where m.erasure_id is not null)
            order by i.id
            limit 1000
            """)
        return Dictionary(
            uniqueKeysWithValues: try rows.map { row in
                (try row.decode("id"), try row.decode("enabled", as: Bool.self) ? .everything : .erasing)
            })
    }
}
