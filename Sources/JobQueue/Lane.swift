import IO
import Logging
import Postgres

/// One batch after another of one consumer.
///
/// A lane has at most one claim under way and holds no job while it claims. So whatever runs under its name then, from a
/// claim whose answer was lost, can be given back.
struct Lane: Sendable {
    let worker: Worker
    let consumption: UInt64
    let queue: String
    let handlers: [String: any JobHandler]
    /// Of each kind the first of those that share its handler: they go to it together.
    let groups: [String: String]
    let batch: Int
    let marks: Marks
    let metrics: QueueMetrics

    /// Claims and runs until the worker or the consumption stops, or the task is cancelled.
    func run() async {
        var failures = 0
        let backoff = Backoff(base: .milliseconds(50), cap: .seconds(5))
        while let registered = await registeredWorker() {
            do {
                let consumer = try await worker.store.registerConsumer(
                    worker: registered, queue: queue, kinds: handlers.keys.sorted())
                guard let consumer else {
                    worker.state.update { if $0.worker == registered { $0.worker = nil } }
                    continue
                }
                failures = 0
                await serve(registered, consumer)
            } catch {
                failures += 1
                guard !Task.isCancelled else { return }
                worker.logger.warning(
                    "cannot register as a consumer", metadata: ["queue": "\(queue)", "error": "\(error)"])
                await pause(backoff.delay(attempt: failures))
            }
        }
    }

    /// The number of the worker once it is registered; nil when there is nothing more to do.
    private func registeredWorker() async -> Int64? {
        let found = await worker.state.wait { [consumption] state -> Int64?? in
            if state.phase(of: consumption) >= .stopping { return .some(nil) }
            return state.worker.map { .some($0) }
        }
        return found ?? nil
    }

    /// Claims and runs under one registration.
    private func serve(_ registered: Int64, _ consumer: Int64) async {
        var failures = 0
        let backoff = Backoff(base: .milliseconds(50), cap: .seconds(5))
        var isClean = true
        var isNewcomer = true
        while mayClaim(registered) {
            do {
                if !isClean { try await abandon(registered, consumer) }
                isClean = false
                if worker.state.value.suspicious.contains(consumer) {
                    isClean = try await serveSuspects(registered, consumer)
                    continue
                }
                let plan = marks.plan()
                let found = try await serveOnce(registered, consumer, plan)
                isClean = found.isRecorded
                failures = 0
                if found.isAny {
                    isNewcomer = true
                } else {
                    if plan.isSweep {
                        // One that was told of work and found none does not ask again, or the two would go round in
                        // circles.
                        if isNewcomer { worker.ring(newcomer: true) }
                        isNewcomer = false
                    }
                    guard await waitForWork(registered, consumer, atMost: marks.untilSweep) else { break }
                }
            } catch  where error.isNotRegistered {
                break
            } catch  where error.isOrderConflict {
                isClean = true
            } catch {
                failures += 1
                guard !Task.isCancelled else { break }
                worker.logger.warning("cannot claim jobs", metadata: ["queue": "\(queue)", "error": "\(error)"])
                await pause(backoff.delay(attempt: failures))
            }
        }
        await leave(registered, consumer, isClean: isClean)
    }

    /// Claims once and runs what it got, in company with the other lanes.
    private func serveOnce(
        _ registered: Int64, _ consumer: Int64, _ plan: Marks.Plan
    ) async throws(PostgresError) -> (isAny: Bool, isRecorded: Bool) {
        guard await worker.company.join() else { return (false, true) }
        defer { worker.company.leave() }
        let start = ContinuousClock.now
        let claimed = try await worker.store.claim(
            worker: registered, consumer: consumer, queue: queue, limit: batch, marks: plan.marks)
        marks.record(claimed.jobs, of: plan, took: .now - start)
        if claimed.isCut {
            // Others are changing what stands in the way of the jobs: they take a moment.
            await pause(.milliseconds(5))
            return (true, true)
        }
        guard !claimed.jobs.isEmpty else { return (false, true) }
        // There may be more than this lane can take.
        if claimed.jobs.count == batch, worker.state.value.waiting.values.contains(consumption) {
            worker.ring(newcomer: false)
        }
        return (true, await Batch(lane: self, worker: registered, jobs: claimed.jobs).run())
    }

    /// Runs jobs that ran when their worker died, one after another, with nothing beside them in this process.
    ///
    /// When the process does not come to rest for long, they are run beside the others: then nothing can be learned from
    /// another death, but they are not held up.
    private func serveSuspects(_ registered: Int64, _ consumer: Int64) async throws(PostgresError) -> Bool {
        let isAlone = await worker.company.withdraw(within: Self.patience)
        let isEnough = worker.state.update { state in
            state.suspicious.remove(consumer)
            state.crowded[consumer] = isAlone ? nil : (state.crowded[consumer] ?? 0) + 1
            return (state.crowded[consumer] ?? 0) > Self.mostCrowded
        }
        guard isAlone || isEnough else { return true }
        defer { if isAlone { worker.company.return() } }
        let end = ContinuousClock.now + Self.patience
        while mayClaim(registered) {
            let claimed = try await worker.store.claim(
                worker: registered, consumer: consumer, queue: queue, limit: isAlone ? 1 : batch,
                marks: Marks.Columns(),
                suspects: isAlone ? .alone : .inCompany)
            if claimed.jobs.isEmpty { return true }
            guard await Batch(lane: self, worker: registered, jobs: claimed.jobs).run() else { return false }
            if ContinuousClock.now > end {
                // The others have waited long enough; it goes on after them.
                worker.state.update { _ = $0.suspicious.insert(consumer) }
                return true
            }
        }
        return true
    }

    /// How long others may be kept from running for jobs that are to run alone.
    private static var patience: Duration { .seconds(5) }
    /// After so many vain attempts to be alone, suspect jobs are run beside others.
    private static var mostCrowded: Int { 6 }

    private func mayClaim(_ registered: Int64) -> Bool {
        let state = worker.state.value
        return !Task.isCancelled && state.worker == registered && state.phase(of: consumption) < .stopping
    }

    /// Waits until some work is due, or the time has passed; false when there is nothing to wait for any more.
    private func waitForWork(_ registered: Int64, _ consumer: Int64, atMost time: Duration?) async -> Bool {
        worker.state.update { $0.waiting[consumer] = consumption }
        let isOver: @Sendable (inout WorkerState) -> Bool? = { [consumption] state in
            if state.due.remove(consumer) != nil || state.suspicious.contains(consumer) { return true }
            return state.worker != registered || state.phase(of: consumption) >= .stopping ? false : nil
        }
        let isDue =
            if let time {
                await worker.state.wait(atMost: time, until: isOver) ?? !Task.isCancelled
            } else {
                await worker.state.wait(until: isOver) ?? false
            }
        worker.state.update { state in
            state.waiting[consumer] = nil
            state.due.remove(consumer)
        }
        return isDue
    }

    private func pause(_ time: Duration) async {
        _ = await worker.state.wait(atMost: time) { [consumption] state -> Bool? in
            state.phase(of: consumption) >= .stopping ? true : nil
        }
    }

    private func abandon(_ registered: Int64, _ consumer: Int64) async throws(PostgresError) {
        try await worker.store.abandon(
            worker: registered, consumer: consumer, reason: "the connection was lost while it was claimed or completed")
    }

    /// Takes the consumer out of the books, and gives back what an uncertain claim may have brought.
    private func leave(_ registered: Int64, _ consumer: Int64, isClean: Bool) async {
        worker.state.update { state in
            state.suspicious.remove(consumer)
            state.crowded[consumer] = nil
        }
        await uncancelled {
            do {
                if !isClean { try await abandon(registered, consumer) }
                try await worker.store.forgetConsumer(consumer)
            } catch {
                // The end of the worker, or its being declared dead, gives back what is left.
                worker.logger.info(
                    "could not give back what it may have claimed",
                    metadata: ["queue": "\(queue)", "error": "\(error)"])
            }
        }
    }
}
