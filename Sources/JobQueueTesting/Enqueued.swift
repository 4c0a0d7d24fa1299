public import FoundationEssentials
public import JobQueue
public import Postgres

/// A job that is not finished, as it lies in the queue.
public struct EnqueuedJob: Sendable, Hashable, CustomStringConvertible {
    /// Its number.
    public var id: Int64
    /// Ready, scheduled, parked, blocked or running.
    public var state: String
    /// Where it lies.
    public var queue: String
    /// What is to be done.
    public var kind: String
    /// What it is to be done with.
    public var args: JSONText
    /// At most one job with it waits in a queue.
    public var key: String?
    /// Jobs with it run one after another.
    public var orderKey: String?
    /// What a limit may be set for.
    public var limitKey: String?
    /// Lower ones go first.
    public var priority: Int
    /// Not before this moment; nil is parked.
    public var runAt: Date?

    /// One line, for the message of a test that failed.
    public var description: String {
        "job \(id): \(kind) \(args) in queue \(queue), \(state)" + (key.map { ", key \($0)" } ?? "")
    }
}

/// Why an expectation about the queue was not met.
public struct JobQueueTestFailure: Error, CustomStringConvertible {
    /// What was expected, and what there was.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

extension JobQueue {
    /// The jobs that are not finished, oldest first: all of them, or those of a kind, a queue and a key.
    public func enqueued(
        kind: String? = nil, queue: String? = nil, key: String? = nil
    ) async throws -> [EnqueuedJob] {
        let rows = try await pool.query(
            """
            select id, state, queue, kind, args, key, order_key, limit_key, priority,
                nullif(run_at, 'infinity') as run_at
            from koppeling.jobs
            where state in ('ready', 'scheduled', 'parked', 'blocked', 'running')
                and (\(kind)::text is null or kind = \(kind)::text)
                and (\(queue)::text is null or queue = \(queue)::text)
                and (\(key)::text is null or key = \(key)::text)
            order by id
            """)
        return try rows.map { row in
            EnqueuedJob(
                id: try row.decode("id"), state: try row.decode("state"), queue: try row.decode("queue"),
                kind: try row.decode("kind"), args: try row.decode("args"), key: try row.decode("key"),
                orderKey: try row.decode("order_key"), limitKey: try row.decode("limit_key"),
                priority: Int(try row.decode("priority", as: Int32.self)), runAt: try row.decode("run_at"))
        }
    }

    /// The one unfinished job of a kind for which the condition holds.
    ///
    /// Throws ``JobQueueTestFailure``, which tells what there is instead, when there is none or more than one: that
    /// fails a test of Swift Testing and of XCTest alike.
    @discardableResult
    public func expectEnqueued(
        kind: String, queue: String? = nil, key: String? = nil,
        where condition: (EnqueuedJob) throws -> Bool = { _ in true }
    ) async throws -> EnqueuedJob {
        let found = try await enqueued(kind: kind, queue: queue, key: key).filter(condition)
        guard let job = found.first, found.count == 1 else {
            let all = try await enqueued()
            let list = all.isEmpty ? "nothing is" : "there are\n" + all.map(\.description).joined(separator: "\n")
            throw JobQueueTestFailure("one such job of kind \(kind) should be enqueued, not \(found.count): \(list)")
        }
        return job
    }

    /// Throws ``JobQueueTestFailure`` when a job of a kind is unfinished for which the condition holds.
    public func expectNotEnqueued(
        kind: String, queue: String? = nil, key: String? = nil,
        where condition: (EnqueuedJob) throws -> Bool = { _ in true }
    ) async throws {
        let found = try await enqueued(kind: kind, queue: queue, key: key).filter(condition)
        guard found.isEmpty else {
            throw JobQueueTestFailure(
                "none of these should be enqueued:\n" + found.map(\.description).joined(separator: "\n"))
        }
    }
}
