/// Why the private cluster cannot be started; one line that says what to do.
public struct EmbeddedPostgresError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of failure, to switch on.
    public enum Code: String, Sendable, Hashable {
        /// PostgreSQL is not installed, or not in the version of the data.
        case programsMissing
        /// The folder cannot be used.
        case folder
        /// Another program uses the folder.
        case inUse
        /// The server ended or did not become ready.
        case failed
    }

    /// The kind of failure.
    public let code: Code
    /// What happened and what to do.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}
