public import FoundationEssentials
public import Postgres

/// A job that a worker has claimed and hands to its handler.
public struct Job: Sendable, Hashable, Identifiable {
    /// The job's number.
    public var id: Int64
    /// The queue it lay in.
    public var queue: String
    /// What is to be done; it chose the handler.
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
    /// Which attempt this is, counted from one.
    public var attempt: Int
    /// How often a handler has put it off; that gives the attempt back.
    public var snoozes: Int
    /// After how many failed attempts it is rejected.
    public var maxAttempts: Int
    /// Since when it might run.
    public var runAt: Date
    /// When it came in.
    public var enqueuedAt: Date
    /// When this attempt began, by the database's clock.
    public var startedAt: Date
    /// How often it has been handed out: with its number the fence that a completion names.
    public var claim: Int32

    /// The columns that a claim asks for, in the order in which they are read: by place, for names cost time.
    static var columns: String {
        """
        id, kind, args, key, order_key, limit_key, priority, attempt, max_attempts, run_at, enqueued_at, started_at, claim,
        snoozes
        """
    }

    init(_ row: Row, queue: String) throws(PostgresError) {
        self.queue = queue
        id = try row.decode(0)
        kind = try row.decode(1)
        args = try row.decode(2)
        key = try row.decode(3)
        orderKey = try row.decode(4)
        limitKey = try row.decode(5)
        priority = Int(try row.decode(6, as: Int32.self))
        attempt = Int(try row.decode(7, as: Int32.self))
        maxAttempts = Int(try row.decode(8, as: Int32.self))
        runAt = try row.decode(9)
        enqueuedAt = try row.decode(10)
        startedAt = try row.decode(11)
        claim = try row.decode(12)
        snoozes = Int(try row.decode(13, as: Int32.self))
    }
}
