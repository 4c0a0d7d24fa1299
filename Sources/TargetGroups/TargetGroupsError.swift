import IO
import Postgres

/// What went wrong with persons, groups or memberships.
public struct TargetGroupsError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure, to switch on.
    public enum Code: String, Sendable, Hashable {
        /// What was given is not acceptable; the message names the field.
        case badInput
        /// The person, group or category is not there.
        case notFound
        /// The name is taken.
        case exists
        /// Somebody else changed it meanwhile.
        case stale
        /// It is unusual enough that it must be confirmed.
        case needsConfirmation
        /// The domain does not allow it.
        case refused
        /// The file cannot be read or written.
        case file
        /// The database failed; `cause` has its error.
        case database
    }

    /// The kind of failure.
    public var code: Code
    /// What happened and what to do, in one line.
    public var message: String
    /// The error beneath, if there is one.
    public var cause: (any Error)?

    init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    /// Translates what the layers beneath threw.
    init(_ error: any Error) {
        switch error {
        case let error as TargetGroupsError: self = error
        case let error as PostgresError: self.init(error)
        case let error as FileError: self.init(.file, error.description, cause: error)
        default: self.init(.database, "\(error)", cause: error)
        }
    }

    private init(_ error: PostgresError) {
        let code: Code =
            switch error.sqlState {
            case "22023": .badInput
            case "P0002": .notFound
            case "23001": .refused
            case "KS001": .stale
            case "KC001": .needsConfirmation
            default: .database
            }
        let text = code == .database ? error.description : error.advised
        self.init(code, text, cause: error)
    }

    /// Whether the same call may well succeed when it is made again.
    public var isRetryable: Bool {
        (cause as? PostgresError)?.isRetryable ?? false
    }

    /// The message.
    public var description: String { message }
}

/// Runs the body and translates what it throws.
@discardableResult
func translated<Value>(_ body: () async throws -> Value) async throws(TargetGroupsError) -> Value {
    do {
        return try await body()
    } catch {
        throw TargetGroupsError(error)
    }
}
