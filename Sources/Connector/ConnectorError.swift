import Mailchimp

/// What went wrong in the link with Mailchimp, in a line that says what to do.
public struct ConnectorError: Error, Sendable, CustomStringConvertible {
    /// The kinds of failure that a caller can tell apart.
    public enum Code: Sendable {
        /// A setting is missing or malformed.
        case badSetting
        /// A credential was sealed with another key.
        case wrongKey
        /// No account, instance, list or plan of that name.
        case notFound
        /// The list or the login is linked already.
        case alreadyLinked
        /// The account has no list to link.
        case noList
        /// Mailchimp refused the credential.
        case refused
        /// What is asked cannot be done in the present state.
        case wrongState
    }

    /// What a caller can switch on.
    public let code: Code
    /// One line for a person.
    public let message: String

    init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The message.
    public var description: String { message }
}

extension ConnectorError {
    /// What to do where Mailchimp refused an account's key or token; nil when it is something else that went wrong.
    public static func renewal(after error: any Error) -> String? {
        guard let error = error as? MailchimpError, error.status != nil,
            [.invalidKey, .userDisabled, .forbidden].contains(error.code)
        else { return nil }
        return "Mailchimp refuses the account's key (\(error)): koppeling account renew gives the account another"
    }
}
