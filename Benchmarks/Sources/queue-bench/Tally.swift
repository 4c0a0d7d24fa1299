import Foundation
import IO
import JobQueue
import Postgres
import ServiceLifecycle

/// What a worker process counts.
final class Tally: Sendable {
    private let counts = Locked((handled: 0, latencies: [Double]()))

    var handled: Int { counts.withLock { $0.handled } }
    var latencies: [Double] { counts.withLock { $0.latencies } }

    func add(_ jobs: [Job]) {
        let now = Self.nanoseconds()
        let latencies = jobs.compactMap { job in Self.sent(job).map { Double(now - $0) / 1e6 } }
        counts.withLock { counts in
            counts.handled += jobs.count
            counts.latencies += latencies
        }
    }

    /// The clock that all processes of the machine share.
    static func nanoseconds() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// Args that say when their job was enqueued.
    static func args(sent: Int64) -> JSONText { JSONText("{\"sent\": \(sent)}") }

    private static func sent(_ job: Job) -> Int64? {
        let text = job.args.text
        guard text.hasPrefix("{\"sent\"") else { return nil }
        return Int64(text.filter(\.isNumber))
    }
}

/// Does nothing, and counts it.
struct Nothing: JobHandler {
    let tally: Tally

    var kinds: Set<String> { [Work.kind] }

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        tally.add(jobs)
        return Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, .done()) })
    }
}

/// The consuming of a worker, as a service that ends with it.
struct Consumption: Service {
    let worker: Worker
    let tally: Tally
    let batch: Int
    let lanes: Int

    func run() async throws {
        try await worker.consume(
            queue: "default", handlers: [Nothing(tally: tally)], batch: batch, concurrentBatches: lanes)
    }
}
