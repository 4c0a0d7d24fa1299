import CoreMetrics
import FoundationEssentials
import IO
import Metrics

/// What a consumer measures, by kind.
///
/// Series are looked up once and kept, and jobs are counted by runs of one kind: a job costs two recordings and no
/// look-up.
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
        for run in jobs.runs(by: \.kind) {
            let metrics = metrics(of: run.value)
            metrics.started.increment(by: run.elements.count)
            for job in run.elements { metrics.wait.recordNanoseconds(job.waited) }
        }
    }

    /// What became of jobs that a handler had for this time.
    func ended(_ jobs: [Job], after time: Duration, _ endings: [Ending]) {
        let nanoseconds = time.nanoseconds
        for run in zip(jobs, endings).map({ $0 }).runs(by: { Kindred(kind: $0.0.kind, ending: $0.1) }) {
            let metrics = metrics(of: run.value.kind)
            metrics.completed[run.value.ending.rawValue].increment(by: run.elements.count)
            for _ in run.elements { metrics.run.recordNanoseconds(nanoseconds) }
        }
    }

    private func metrics(of kind: String) -> KindMetrics {
        kinds.withLock { kinds in
            if let known = kinds[kind] { return known }
            let made = KindMetrics(queue: queue, kind: kind, factory: factory)
            kinds[kind] = made
            return made
        }
    }

    private struct Kindred: Equatable {
        var kind: String
        var ending: Ending
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

    /// What the database makes of the outcome: the last attempt is not tried again.
    init(_ outcome: Outcome, of job: Job) {
        self =
            switch outcome {
            case .done: .done
            case .retry: job.attempt < job.maxAttempts ? .retry : .rejected
            case .snooze: .snooze
            case .rejected: .rejected
            case .cancelled: .cancelled
            }
    }
}

/// The series of one kind in one queue.
private struct KindMetrics: Sendable {
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

extension Array {
    /// Neighbours that have the value in common.
    fileprivate func runs<Value: Equatable>(by value: (Element) -> Value) -> [(
        value: Value, elements: ArraySlice<Element>
    )] {
        var runs: [(value: Value, elements: ArraySlice<Element>)] = []
        var start = startIndex
        while start < endIndex {
            let common = value(self[start])
            let end = self[start...].firstIndex { value($0) != common } ?? endIndex
            runs.append((common, self[start..<end]))
            start = end
        }
        return runs
    }
}
