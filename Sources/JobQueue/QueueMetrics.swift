import CoreMetrics
import FoundationEssentials
import IO
import Metrics

/// What a consumer measures, by kind.
///
/// Series are looked up once a batch and kind, and counters raised once: a job costs two recordings and two additions.
final class QueueMetrics: Sendable {
    private let queue: String
    private let factory: any MetricsFactory
    private let kinds = Locked<[String: KindMetrics]>([:])

    init(queue: String, factory: any MetricsFactory) {
        self.queue = queue
        self.factory = factory
    }

    /// Jobs were claimed and their handlers begin.
    func started(_ jobs: [Job]) {
        var tallies = Tallies(of: self)
        for job in jobs {
            let place = tallies.place(of: job.kind)
            tallies.all[place].started += 1
            tallies.all[place].metrics.wait.recordNanoseconds(job.waited)
        }
        for tally in tallies.all { tally.metrics.started.increment(by: tally.started) }
    }

    /// What became of jobs that a handler had for this time.
    func ended(_ jobs: [Job], after time: Duration, _ endings: [Ending]) {
        let nanoseconds = time.nanoseconds
        var tallies = Tallies(of: self)
        for (job, ending) in zip(jobs, endings) {
            let place = tallies.place(of: job.kind)
            tallies.all[place].ended[ending.rawValue] += 1
            tallies.all[place].metrics.run.recordNanoseconds(nanoseconds)
        }
        for tally in tallies.all {
            for (ending, count) in tally.ended.enumerated() where count > 0 {
                tally.metrics.completed[ending].increment(by: count)
            }
        }
    }

    fileprivate func metrics(of kind: String) -> KindMetrics {
        kinds.withLock { kinds in
            if let known = kinds[kind] { return known }
            let made = KindMetrics(queue: queue, kind: kind, factory: factory)
            kinds[kind] = made
            return made
        }
    }
}

/// The counts of one batch, by kind: there are few, and neighbours mostly have the same.
private struct Tallies {
    struct Tally {
        let kind: String
        let metrics: KindMetrics
        var started = 0
        var ended = [Int](repeating: 0, count: Ending.allCases.count)
    }

    var all: [Tally] = []
    private let metrics: QueueMetrics
    private var latest = 0

    init(of metrics: QueueMetrics) {
        self.metrics = metrics
    }

    mutating func place(of kind: String) -> Int {
        if latest < all.count, all[latest].kind == kind { return latest }
        if let place = all.firstIndex(where: { $0.kind == kind }) {
            latest = place
        } else {
            latest = all.count
            all.append(Tally(kind: kind, metrics: metrics.metrics(of: kind)))
        }
        return latest
    }
}

/// What an attempt at a job came to.
enum Ending: Int, CaseIterable, Sendable {
    case done
    case retry
    case snooze
    case rejected
    case cancelled
    case released
    /// Somebody else had the job by then, so that what this worker did does not count.
    case lost

    /// What the database makes of the outcome: the last attempt is not tried again, and what somebody wants cancelled
    /// does not come back.
    init(_ outcome: Outcome, of job: Job, isUnwanted: Bool) {
        self =
            switch outcome {
            case .done: .done
            case .rejected: .rejected
            case .cancelled: .cancelled
            case .retry where isUnwanted, .snooze where isUnwanted: .cancelled
            case .retry: job.attempt < job.maxAttempts ? .retry : .rejected
            case .snooze: .snooze
            }
    }
}

/// The series of one kind in one queue.
private final class KindMetrics: Sendable {
    let started: Counter
    /// By the number of the ending.
    let completed: [Counter]
    let wait: Metrics.Timer
    let run: Metrics.Timer

    init(queue: String, kind: String, factory: any MetricsFactory) {
        let labels = [("queue", queue), ("kind", kind)]
        started = Counter(label: "koppeling_jobs_started_total", dimensions: labels, factory: factory)
        completed = Ending.allCases.map { ending in
            Counter(
                label: "koppeling_jobs_completed_total", dimensions: labels + [("outcome", "\(ending)")],
                factory: factory)
        }
        wait = Metrics.Timer(label: "koppeling_job_wait_seconds", dimensions: labels, factory: factory)
        run = Metrics.Timer(label: "koppeling_job_run_seconds", dimensions: labels, factory: factory)
    }
}

extension Job {
    /// How long it could have run before it did, in nanoseconds.
    fileprivate var waited: Int64 {
        Int64(max(0, startedAt.timeIntervalSince(max(runAt, enqueuedAt))) * 1e9)
    }
}

extension Duration {
    fileprivate var nanoseconds: Int64 {
        components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
    }
}
