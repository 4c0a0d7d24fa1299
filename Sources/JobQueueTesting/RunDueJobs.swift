import FoundationEssentials
public import JobQueue
import Logging
public import Postgres

/// An attempt that was made at a job.
public struct JobRun: Sendable, Hashable {
    /// The number of the job.
    public var id: Int64
    /// What was to be done.
    public var kind: String
    /// What it was to be done with.
    public var args: JSONText
    /// Which attempt it was, counted from one; one that was put off has the number of the next.
    public var attempt: Int
    /// What became of it: done, retried, snoozed, rejected, cancelled or released.
    public var outcome: String
    /// What went wrong, or why it ended.
    public var error: String?
    /// What the handler answered, when it is done.
    public var result: JSONText?
}

extension JobQueue {
    /// Runs what is due in a queue with these handlers, to the end, and returns what happened in its order.
    ///
    /// It works as a worker does, and with real ones beside it. What handlers enqueue to the same queue is run as well
    /// when it is due, and so is what is to be tried again at once. What waits for its time, for a limit or for a person
    /// stays. Only kinds that a handler takes count. Throws ``JobQueueTestFailure`` when the work does not end in time.
    @discardableResult
    public func runDueJobs(
        of queue: String = "default", with handlers: [any JobHandler], within time: Duration = .seconds(30)
    ) async throws -> [JobRun] {
        let worker = Worker(
            pool: pool, options: Worker.Options(name: "runDueJobs", slowPoll: .milliseconds(20), listens: false),
            logger: Logger(label: "runDueJobs") { _ in SwiftLogNoOpLogHandler() })
        let kinds = handlers.flatMap(\.kinds).sorted()
        let id = try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await worker.run() }
            let id = try await worker.id
            group.addTask {
                do {
                    try await worker.consume(queue: queue, handlers: handlers)
                } catch is CancellationError {}
            }
            group.addTask {
                let deadline = ContinuousClock.now + time
                while try await isBusy(queue, kinds) {
                    guard ContinuousClock.now < deadline else {
                        throw JobQueueTestFailure("what is due in queue \(queue) was not at its end after \(time)")
                    }
                    try await Task.sleep(for: .milliseconds(5))
                }
                throw Finished()
            }
            do {
                while try await group.next() != nil {}
            } catch is Finished {}
            group.cancelAll()
            return id
        }
        return try await runs(of: id)
    }

    private struct Finished: Error {}

    /// Whether something is due, or runs.
    private func isBusy(_ queue: String, _ kinds: [String]) async throws -> Bool {
        try await pool.query(
            """
            select exists (
                select from koppeling.job j
                where j.queue = \(queue)::text and j.kind = any (koppeling.open_kinds(\(queue)::text, \(kinds)::text[]))
                    and (j.state = 'running'
                        or j.state in ('ready', 'returned', 'suspect') and j.run_at <= koppeling.now()))
            """
        ).scalar(as: Bool.self)
    }

    private func runs(of worker: Int64) async throws -> [JobRun] {
        let rows = try await pool.query(
            """
            select a.job_id, j.kind, j.args, a.attempt, a.outcome, a.error,
                case when a.outcome = 'done' then j.result end as result
            from koppeling.job_attempts a
            join koppeling.jobs j on j.id = a.job_id
            where a.worker_id = \(worker)::bigint
            order by a.started_at, a.job_id, a.ended_at
            """)
        return try rows.map { row in
            JobRun(
                id: try row.decode("job_id"), kind: try row.decode("kind"), args: try row.decode("args"),
                attempt: Int(try row.decode("attempt", as: Int32.self)), outcome: try row.decode("outcome"),
                error: try row.decode("error"), result: try row.decode("result"))
        }
    }
}
