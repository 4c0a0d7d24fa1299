import IO
import Logging
import Postgres

/// Jobs that were claimed together, on their way through their handlers.
struct Batch: Sendable {
    let lane: Lane
    let worker: Int64
    let jobs: [Job]

    private enum Run: Sendable {
        case outcomes([Int64: Outcome])
        case failure(any Error)
    }

    /// Runs all jobs and records what became of them; false when that could not be recorded.
    func run() async -> Bool {
        lane.metrics.started(jobs)
        let groups = Dictionary(grouping: jobs) { lane.groups[$0.kind] ?? $0.kind }
        return await withTaskGroup(of: Bool.self) { group in
            for (kind, jobs) in groups {
                guard let handler = lane.handlers[kind] else { continue }
                group.addTask { await run(jobs, handler, kind) }
            }
            var isRecorded = true
            for await wasRecorded in group { isRecorded = isRecorded && wasRecorded }
            return isRecorded
        }
    }

    private func run(_ jobs: [Job], _ handler: any JobHandler, _ kind: String) async -> Bool {
        let context = JobContext(
            worker: worker, batch: jobs, store: lane.worker.store, cancellations: lane.worker.cancellations,
            workerLogger: lane.worker.logger)
        lane.worker.cancellations.begin(jobs)
        defer { lane.worker.cancellations.end(jobs) }
        let start = ContinuousClock.now
        let ids = Set(jobs.lazy.map(\.id))
        let (run, isInterrupted) = await interruptible(unless: ids) { () async -> Run in
            do {
                return .outcomes(
                    try await RunningJobs.$current.withValue(RunningJobs(jobs: jobs)) {
                        try await handler.run(jobs, context)
                    })
            } catch {
                return .failure(error)
            }
        }
        let time = ContinuousClock.now - start

        var given: [Int64: Outcome] = [:]
        var reason = "the handler gave the job no outcome, and did not complete it"
        switch run {
        case .outcomes(let outcomes): given = outcomes
        case .failure(let error):
            reason = "\(error)"
            if !isInterrupted { context.warn(of: error, in: jobs) }
        }
        var completion = Completion()
        var endings: [Ending] = []
        endings.reserveCapacity(jobs.count)
        for job in jobs {
            // A failure of one that was cut short is most likely the cut.
            if isInterrupted, given[job.id]?.isFinal != true {
                completion.addReleased(job, reason: "its worker stopped")
                endings.append(context.isCancelled(job) ? .cancelled : .released)
            } else {
                // The fence refuses this for those that were completed through the context.
                let outcome = given[job.id] ?? .retry(error: reason)
                completion.add(job, outcome)
                endings.append(Ending(outcome, of: job, isUnwanted: context.isCancelled(job)))
            }
        }
        guard let held = await record(completion, context.logger) else { return false }
        if held.count < jobs.count {
            let completed = context.completed.withLock { $0 }
            for (index, job) in jobs.enumerated() where !held.contains(job.id) {
                endings[index] = completed[job.id] ?? .lost
            }
        }
        lane.metrics.ended(jobs, after: time, endings)
        return true
    }

    /// Runs the body, which is cancelled when the task is, when the grace period is over, when others own the jobs, or
    /// when all of the jobs are to be cancelled; the last is no interruption of the worker's work.
    private func interruptible<Result: Sendable>(
        unless jobs: Set<Int64>, _ body: @escaping @Sendable () async -> Result
    ) async -> (Result, isInterrupted: Bool) {
        let ended = Watched<Result?>(nil)
        let isInterrupted = await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                let result = await body()
                // Said before the watch ends, so that only what came before the end counts as an interruption.
                let isCancelled =
                    Task.isCancelled && !jobs.allSatisfy { lane.worker.cancellations.contains($0) }
                ended.update { $0 = .some(result) }
                return isCancelled
            }
            group.addTask {
                _ = await lane.worker.state.wait { state -> Bool? in
                    state.phase(of: lane.consumption) >= .aborting || state.worker != worker ? true : nil
                }
                return false
            }
            group.addTask {
                _ = await lane.worker.cancellations.wait(for: jobs)
                return false
            }
            var isInterrupted = false
            for await wasCancelled in group {
                isInterrupted = isInterrupted || wasCancelled
                group.cancelAll()
            }
            return isInterrupted
        }
        guard let result = ended.value else { preconditionFailure("the body has ended, so there is a result") }
        return (result, isInterrupted)
    }

    /// Records outcomes, also when the task is cancelled, and again when the database cannot be reached.
    ///
    /// - Returns: the jobs whose claim still held; nil when nothing could be recorded.
    private func record(_ completion: Completion, _ logger: Logger) async -> Set<Int64>? {
        await uncancelled {
            let backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
            var failures = 0
            while true {
                do {
                    return try await lane.worker.store.complete(completion, worker: worker)
                } catch {
                    failures += 1
                    logger.warning("cannot record what became of jobs", metadata: ["error": "\(error)"])
                    let isFinal = (error as? PostgresError).map { !$0.isRetryable && $0.code != .timeout } ?? true
                    if isFinal || failures >= Self.tries || lane.worker.state.value.phase == .stopped { return nil }
                    try? await Task.sleep(for: backoff.delay(attempt: failures))
                }
            }
        }
    }

    private static var tries: Int { 10 }
}
