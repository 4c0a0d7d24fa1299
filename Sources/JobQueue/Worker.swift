public import CoreMetrics
import Glibc
import IO
public import Logging
public import Postgres
public import ServiceLifecycle

/// A process's part in the work: it is registered, gives signs of life, takes over from the dead, and hands jobs to
/// handlers.
///
/// One a process. `run()` keeps it going; `consume` may be called any number of times, before or while it runs, and
/// ends with it.
public final class Worker: Service {
    let store: QueueStore
    let options: Options
    let logger: Logger
    let metrics: any MetricsFactory
    let state = Watched(WorkerState())
    let bell = Watched(Bell())
    let company = Company()
    let cancellations = Cancellations()
    /// Whether schedules may have changed since they were last looked at.
    let scheduleBell = Watched(false)
    let listenSettings: ConnectionSettings
    /// Signs of life have a connection of their own: they must come in time however busy the pool is.
    let lifePool: Pool

    /// A worker that does nothing yet.
    ///
    /// The settings for listening lead to the server itself, when the pool leads to a pooler in transaction mode, where
    /// nobody can listen; without them such a worker looks for work every second. What is measured goes to the factory,
    /// that of the process unless another is given.
    public init(
        pool: Pool, listenSettings: ConnectionSettings? = nil, options: Options = Options(),
        metrics: any MetricsFactory = MetricsSystem.factory, logger: Logger
    ) {
        store = QueueStore(pool: pool)
        var lifeSettings = pool.settings
        lifeSettings.statementTimeout = .seconds(10)
        lifePool = Pool(lifeSettings, maximum: 1)
        self.listenSettings = listenSettings ?? pool.settings
        var options = options
        if self.listenSettings.pooler == .transaction {
            options.listens = false
            options.slowPoll = min(options.slowPoll, .seconds(1))
        }
        self.options = options
        self.metrics = metrics
        var logger = logger
        logger[metadataKey: "worker"] = "\(options.name)"
        self.logger = logger
    }

    /// The number under which the worker is registered; waits until it is.
    public var id: Int64 {
        get async throws {
            let found = await state.wait { state -> Int64?? in
                if let worker = state.worker { return .some(worker) }
                return state.phase == .stopped ? .some(nil) : nil
            }
            guard let found else { throw CancellationError() }
            guard let worker = found else { throw JobQueueError(.stopped, "the worker has stopped") }
            return worker
        }
    }

    /// Works until a graceful shutdown, or until the task is cancelled.
    ///
    /// After a graceful shutdown jobs have the grace period to finish; what has not finished then, and what runs when
    /// the task is cancelled, is given back without counting an attempt.
    public func run() async throws {
        guard state.update({ $0.begin() }) else { throw JobQueueError(.usage, "a worker runs once: make another") }
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.live() }
                group.addTask { await self.lookForWork() }
                group.addTask { await self.keepHistory() }
                group.addTask { await self.watchCancellations() }
                group.addTask { await self.runSchedules() }
                if self.options.listens { group.addTask { await self.listen() } }
                let isGraceful = await self.state.wait { $0.phase >= .stopping ? true : nil } ?? false
                self.state.update { $0.advance(to: isGraceful ? .stopping : .aborting) }
                if isGraceful { await self.grace() }
                await self.awaitConsumers()
                group.cancelAll()
            }
            // After the signs of life have ended, or they would take the farewell for a death and register again.
            await self.deregister()
        } onGracefulShutdown: {
            self.state.update { $0.advance(to: .stopping) }
        }
        try Task.checkCancellation()
    }

    /// Claims jobs of a queue and hands them to their handlers, until the worker stops or the task is cancelled.
    ///
    /// A batch is the most jobs that are claimed at once, up to 500; several may be under way at once.
    public func consume(
        queue: String, handlers: [any JobHandler], batch: Int = 100, concurrentBatches: Int = 1
    ) async throws {
        var byKind: [String: any JobHandler] = [:]
        for handler in handlers {
            for kind in handler.kinds where byKind.updateValue(handler, forKey: kind) != nil {
                throw JobQueueError(.usage, "two handlers take the kind \(kind): give each kind to one")
            }
        }
        guard !byKind.isEmpty, batch > 0, concurrentBatches > 0 else {
            throw JobQueueError(
                .usage, "a consumer needs a handler with a kind, a batch and a concurrency of at least one")
        }
        let marks = Marks()
        let consumption = state.update { $0.beginConsumption(of: queue, marks) }
        defer { state.update { $0.endConsumption(consumption) } }
        let lane = Lane(
            worker: self, consumption: consumption, queue: queue, handlers: byKind,
            groups: byKind.mapValues { $0.kinds.min() ?? "" }, batch: min(batch, 500),
            marks: marks, metrics: QueueMetrics(queue: queue, factory: metrics))
        await withGracefulShutdownHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.grace(consumption) }
                await withDiscardingTaskGroup { lanes in
                    for _ in 0..<concurrentBatches { lanes.addTask { await lane.run() } }
                }
                group.cancelAll()
            }
        } onGracefulShutdown: {
            self.state.update { $0.advance(consumption, to: .stopping) }
        }
        try Task.checkCancellation()
    }

    /// Wakes the one who looks for work.
    func ring(newcomer: Bool) {
        bell.update { bell in
            if newcomer { bell.hasNewcomer = true } else { bell.isRung = true }
        }
    }

    /// Lets jobs go on for the grace period, unless none is left before.
    private func grace() async {
        // Cut short when the task is cancelled: whoever asks twice means at once.
        _ = await state.wait(atMost: options.gracePeriod) { $0.consumptions.isEmpty ? true : nil }
        state.update { $0.advance(to: .aborting) }
    }

    /// Waits for those who were told to stop.
    private func awaitConsumers() async {
        await uncancelled {
            if await self.state.wait(atMost: Self.patience, until: { $0.consumptions.isEmpty ? true : nil }) == nil {
                self.logger.warning("a handler does not end although it is cancelled: its jobs are given back")
            }
        }
    }

    /// How long a cancelled handler may take to end.
    private static var patience: Duration { .seconds(5) }

    /// Takes the worker out of the books.
    private func deregister() async {
        await uncancelled {
            if let worker = self.state.value.worker {
                do {
                    let released = try await self.store.stop(worker: worker)
                    if released > 0 { self.logger.notice("gave jobs back", metadata: ["count": "\(released)"]) }
                } catch {
                    self.logger.warning(
                        "could not say goodbye: another worker takes the jobs over", metadata: ["error": "\(error)"])
                }
            }
            self.state.update { state in
                state.advance(to: .stopped)
                state.worker = nil
            }
            await self.lifePool.close()
        }
    }
}

extension WorkerState {
    fileprivate mutating func begin() -> Bool {
        guard phase == .idle else { return false }
        phase = .running
        return true
    }

    fileprivate mutating func beginConsumption(of queue: String, _ marks: Marks) -> UInt64 {
        lastConsumption += 1
        consumptions[lastConsumption] = .idle
        self.marks[lastConsumption] = (queue, marks)
        return lastConsumption
    }

    fileprivate mutating func endConsumption(_ consumption: UInt64) {
        consumptions[consumption] = nil
        marks[consumption] = nil
    }
}
