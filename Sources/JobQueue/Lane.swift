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
    let batch: Int
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
                let jobs = try await worker.store.claim(worker: registered, consumer: consumer, limit: batch)
                isClean = true
                failures = 0
                if jobs.isEmpty {
                    // One that was told of work and found none does not ask again, or the two would go round in circles.
                    if isNewcomer { worker.ring(newcomer: true) }
                    isNewcomer = false
                    guard await waitForWork(registered, consumer) else { break }
                } else {
                    isNewcomer = true
                    isClean = await Batch(lane: self, worker: registered, jobs: jobs).run()
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

    private func mayClaim(_ registered: Int64) -> Bool {
        let state = worker.state.value
        return !Task.isCancelled && state.worker == registered && state.phase(of: consumption) < .stopping
    }

    /// Waits until some work is due; false when there is nothing to wait for any more.
    private func waitForWork(_ registered: Int64, _ consumer: Int64) async -> Bool {
        worker.state.update { _ = $0.waiting.insert(consumer) }
        let isDue = await worker.state.wait { [consumption] state -> Bool? in
            if state.due.remove(consumer) != nil { return true }
            return state.worker != registered || state.phase(of: consumption) >= .stopping ? false : nil
        }
        worker.state.update { state in
            state.waiting.remove(consumer)
            state.due.remove(consumer)
        }
        return isDue ?? false
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
