public import FoundationEssentials
public import Postgres

/// A job to be enqueued.
public struct NewJob: Sendable, Hashable {
    /// What becomes of a job whose key another waiting job has already.
    public enum KeyMode: String, Sendable, Hashable, Codable, CaseIterable {
        /// The waiting one stays as it is.
        case keep
        /// The waiting one takes over everything but its place: the more urgent priority stays.
        case replace
        /// The args, which are JSON arrays, are joined.
        case append
    }

    /// What is to be done.
    public var kind: String
    /// What it is to be done with: a JSON object or array.
    public var args: JSONText
    /// The queue it goes to.
    public var queue: String
    /// At most one job with it waits in a queue.
    public var key: String?
    /// What happens when one waits with the key already.
    public var keyMode: KeyMode
    /// Jobs with it run one after another, in the order of their numbers.
    public var orderKey: String?
    /// What a limit may be set for.
    public var limitKey: String?
    /// Not before this moment; nil is at once, `Date.distantFuture` is parked until it is released.
    public var runAt: Date?
    /// Lower ones go first.
    public var priority: Int
    /// After how many failed attempts it is rejected.
    public var maxAttempts: Int

    /// A job with the defaults of the queue.
    public init(
        kind: String, args: JSONText = "{}", queue: String = "default", key: String? = nil, keyMode: KeyMode = .keep,
        orderKey: String? = nil, limitKey: String? = nil, runAt: Date? = nil, priority: Int = 0, maxAttempts: Int = 20
    ) {
        self.kind = kind
        self.args = args
        self.queue = queue
        self.key = key
        self.keyMode = keyMode
        self.orderKey = orderKey
        self.limitKey = limitKey
        self.runAt = runAt
        self.priority = priority
        self.maxAttempts = maxAttempts
    }
}
