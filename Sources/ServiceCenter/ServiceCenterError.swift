/// What keeps the service center from doing its work.
public struct ServiceCenterError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of failure, to switch on.
    public enum Code: String, Sendable, Hashable {
        /// The address cannot be listened on.
        case listen
        /// There is a token of this name already.
        case tokenExists
        /// There is no token of this name.
        case noSuchToken
        /// The caller asked for something that cannot be.
        case usage
    }

    /// The kind of failure.
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
