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

    init(_ row: Row, startedAt: Date) throws(PostgresError) {
        self.startedAt = startedAt
        id = try row.decode("id")
        queue = try row.decode("queue")
        kind = try row.decode("kind")
        args = try row.decode("args")
        key = try row.decode("key")
        orderKey = try row.decode("order_key")
        limitKey = try row.decode("limit_key")
        priority = Int(try row.decode("priority", as: Int32.self))
        attempt = Int(try row.decode("attempt", as: Int32.self))
        maxAttempts = Int(try row.decode("max_attempts", as: Int32.self))
        runAt = try row.decode("run_at")
        enqueuedAt = try row.decode("enqueued_at")
        claim = try row.decode("claim")
    }
}
