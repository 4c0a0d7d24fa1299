/// Carries out jobs one by one, several at a time, each in a task of its own.
///
/// The task is cancelled when somebody cancels the job, and when the worker stops.
public protocol SingleJobHandler: JobHandler {
    /// How many jobs of a batch are under way at once; 10 unless said otherwise.
    var concurrency: Int { get }

    /// Carries out one job and says what became of it. What it throws makes the job be tried again.
    func run(_ job: Job, _ context: JobContext) async throws -> Outcome
}

extension SingleJobHandler {
    /// Ten at a time.
    public var concurrency: Int { 10 }

    /// Carries out the jobs, in tasks of their own.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        await withTaskGroup(of: (Int64, Outcome?).self) { group in
            var waiting = jobs[...]
            var outcomes: [Int64: Outcome] = [:]
            func begin() {
                guard !Task.isCancelled, let job = waiting.popFirst() else { return }
                group.addTask { (job.id, await outcome(of: job, context)) }
            }
            for _ in 0..<max(1, concurrency) { begin() }
            for await (id, outcome) in group {
                outcomes[id] = outcome
                begin()
            }
            return outcomes
        }
    }

    /// What became of the job; nil when it was cut short by the worker's end, and it is to be given back.
    private func outcome(of job: Job, _ context: JobContext) async -> Outcome? {
        do {
            return try await context.cancellable(job) {
                try await context.working(on: job) { try await run(job, context) }
            }
        } catch {
            if Task.isCancelled { return nil }
            context.warn(of: error, in: [job])
            return .retry(error: "\(error)")
        }
    }
}
