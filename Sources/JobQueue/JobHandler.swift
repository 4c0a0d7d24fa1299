import IO
public import Logging
public import Postgres

/// Carries out jobs of some kinds, many at a time.
public protocol JobHandler: Sendable {
    /// The kinds of job it takes.
    var kinds: Set<String> { get }

    /// Carries out the jobs and says what became of each.
    ///
    /// A job without an outcome must have been completed through the context; any other is tried again. When this
    /// throws, or when the task is cancelled because the worker stops, that holds for all that were not completed;
    /// a stopping worker's do not lose an attempt by it.
    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome]
}

/// What a handler may know and do about the jobs it was given.
public struct JobContext: Sendable {
    /// The number of the worker that runs the jobs.
    public let worker: Int64
    /// All jobs that the handler was given.
    let batch: [Job]
    let store: QueueStore
    let cancellations: Cancellations
    let workerLogger: Logger
    /// What was completed through the context, in transactions that may have been rolled back since.
    let completed = Locked<[Int64: Ending]>([:])

    /// Logs with the queue, the kind and the worker as metadata, and with the job and the attempt when there is but one.
    public var logger: Logger { logger(for: batch) }

    /// Whether somebody wants the job cancelled; the task is cancelled only when that holds for all jobs it runs.
    public func isCancelled(_ job: Job) -> Bool { cancellations.contains(job.id) }

    /// Runs the body in a task that is cancelled when somebody wants the job cancelled.
    public func cancellable<Result: Sendable>(
        _ job: Job, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                _ = await cancellations.wait(for: [job.id])
                return nil
            }
            // Whichever ends first ends the other; the body's answer is what counts.
            var result: Result?
            while let ended = try await group.next() {
                result = result ?? ended
                group.cancelAll()
            }
            guard let result else { throw CancellationError() }
            return result
        }
    }

    /// A logger that names a job and its attempt on every line.
    public func logger(for job: Job) -> Logger { logger(for: [job]) }

    private func logger(for jobs: [Job]) -> Logger {
        var logger = workerLogger
        for (key, value) in RunningJobs(jobs: jobs).metadata { logger[metadataKey: key] = value }
        return logger
    }

    /// Tells of a failure, not of what the error says: that may be about persons, and is kept as the reason of the attempt.
    func warn(of error: any Error, in jobs: [Job]) {
        let logger = logger(for: jobs)
        logger.warning("a handler failed", metadata: ["error": "\(type(of: error))"])
        logger.debug("why a handler failed", metadata: ["error": "\(error)"])
    }

    /// Runs the body as the work on one of the jobs: lines that it logs name that job, through whatever logger.
    ///
    /// For loggers other than the context's this takes the provider `Logger.MetadataProvider.jobs`.
    public func working<Result>(on job: Job, _ body: () async throws -> Result) async rethrows -> Result {
        try await RunningJobs.$current.withValue(RunningJobs(jobs: [job])) { try await body() }
    }

    /// Completes jobs in the connection's transaction, together with what the handler writes there.
    ///
    /// - Returns: those that were still this worker's. The others were given to somebody else meanwhile; when what was
    ///   written must not stand then, roll back.
    public func complete(
        _ outcomes: [Int64: Outcome], on connection: Connection
    ) async throws(PostgresError) -> Set<Int64> {
        var completion = Completion()
        var endings: [Int64: Ending] = [:]
        for job in batch {
            guard let outcome = outcomes[job.id] else { continue }
            completion.add(job, outcome)
            endings[job.id] = Ending(outcome, of: job, isUnwanted: isCancelled(job))
        }
        if let stranger = outcomes.keys.first(where: { endings[$0] == nil }) {
            throw PostgresError(.usage, "job \(stranger) was not given to this handler, so it cannot complete it")
        }
        let held = try await store.complete(completion, worker: worker, on: connection)
        completed.withLock { completed in
            for id in held { completed[id] = endings[id] }
        }
        return held
    }

    /// Those of the jobs that are still this worker's.
    public func stillHeld(_ ids: some Collection<Int64>) async throws(PostgresError) -> Set<Int64> {
        let ids = Set(ids)
        return try await store.held(batch.filter { ids.contains($0.id) }, worker: worker)
    }
}
