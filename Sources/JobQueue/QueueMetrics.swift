import Metrics

/// What a worker measures, by queue and kind.
enum QueueMetrics {
    static func claimed(_ jobs: [Job], queue: String) {
        for (kind, count) in counts(jobs) {
            Counter(label: "koppeling_jobs_claimed_total", dimensions: [("queue", queue), ("kind", kind)])
                .increment(by: count)
        }
    }

    /// The time a handler took for its share of a batch, once for each kind in it.
    static func ran(_ jobs: [Job], queue: String, for time: Duration) {
        for kind in counts(jobs).keys {
            Timer(label: "koppeling_batch_run_seconds", dimensions: [("queue", queue), ("kind", kind)])
                .record(duration: time)
        }
    }

    static func finished(_ job: Job, as outcome: Outcome) {
        Counter(
            label: "koppeling_jobs_completed_total",
            dimensions: [("queue", job.queue), ("kind", job.kind), ("outcome", outcome.name)]
        ).increment()
    }

    private static func counts(_ jobs: [Job]) -> [String: Int] {
        jobs.reduce(into: [:]) { $0[$1.kind, default: 0] += 1 }
    }
}

extension Outcome {
    /// The outcome without what belongs to it.
    var name: String {
        switch self {
        case .done: "done"
        case .retry: "retry"
        case .snooze: "snooze"
        case .rejected: "rejected"
        case .cancelled: "cancelled"
        }
    }
}
