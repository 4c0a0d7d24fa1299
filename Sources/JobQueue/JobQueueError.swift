/// What is wrong with the way the queue is used.
public struct JobQueueError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of mistake, to switch on.
    public enum Code: String, Sendable, Hashable {
        /// The worker has stopped, or stops.
        case stopped
        /// The caller did what the queue does not allow.
        case usage
    }

    /// The kind of mistake.
    public var code: Code
    /// One line that says what happened and what to do.
    public var message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
