/// What went wrong between this program and PostgreSQL.
public struct PostgresError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kind of failure, to switch on.
    public enum Code: String, Sendable, Hashable {
        /// The server cannot be reached, or the connection to it was lost.
        case connection
        /// The connection was lost while a commit was under way: it may or may not have happened.
        case commitUnknown
        /// A statement, a lock or a free connection took longer than allowed.
        case timeout
        /// The task was cancelled; the connection stays usable.
        case cancelled
        /// The server refused the statement: see `sqlState`.
        case server
        /// A column is missing or its value does not fit the Swift type.
        case decoding
        /// The caller did what this library does not allow.
        case usage
        /// The schema in the database does not fit the migration files.
        case schema
    }

    /// The kind of failure.
    public var code: Code
    /// The server's five-character code, when the server spoke.
    public var sqlState: String?
    /// One line that says what happened and, where we know, what to do.
    public var message: String
    /// The server's detail; may contain data of persons, so it is not part of `description`.
    public var detail: String?
    /// The server's hint.
    public var hint: String?
    /// The name of the violated constraint.
    public var constraint: String?
    /// The name of the table that the failure is about.
    public var table: String?
    /// The name of the column that the failure is about.
    public var column: String?
    /// Where the server was, as a stack of its functions and statements.
    public var context: String?
    /// Whether the server ended the connection with this error.
    var isFatal = false
    /// Whether a prepared statement had become stale, and is prepared anew when the transaction is run again.
    var isStalePlan = false
    /// Whether the server takes no writes.
    var isReadOnly: Bool { sqlState == "25006" }

    /// An error of this kind.
    public init(
        _ code: Code, _ message: String, sqlState: String? = nil, detail: String? = nil, hint: String? = nil,
        constraint: String? = nil
    ) {
        self.code = code
        self.message = message
        self.sqlState = sqlState
        self.detail = detail
        self.hint = hint
        self.constraint = constraint
    }

    /// Whether the same transaction, run again from its beginning, may well succeed.
    public var isRetryable: Bool {
        guard let sqlState, !isStalePlan else { return code == .connection || isStalePlan }
        if sqlState.hasPrefix("08") { return true }
        return Self.retryableStates.contains(sqlState)
    }

    /// Serialization failure, deadlock, lock not available, shutdowns and start-up, too many connections, stale plans, a
    /// server that takes no writes.
    private static let retryableStates: Set<String> = [
        "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "26000", "25006",
    ]

    /// The message and what to do about it, for people: a hint that is a sentence stands as one.
    public var advised: String {
        guard let hint else { return message }
        let isSentence = hint.first?.isUppercase == true && !message.hasSuffix(".")
        return message + (isSentence ? ". " : message.hasSuffix(".") ? " " : "; ") + hint
    }

    /// The message with the server's code and hint, without its detail.
    public var description: String {
        var text = message
        if let sqlState { text += " (SQLSTATE \(sqlState))" }
        if let hint { text += "; \(hint)" }
        return text
    }
}
