/// Why no account was connected, and no credential replaced.
public struct ConnectFailure: Error, Sendable, Hashable {
    /// The kinds of failure, each with a page and a line of its own.
    public enum Reason: String, Sendable, Hashable, CaseIterable {
        /// No ticket of this address.
        case unknownTicket
        /// The ten minutes are over.
        case expired
        /// The ticket has led to an end already.
        case used
        /// Another browser than the one that opened the ticket first.
        case wrongBrowser
        /// What Mailchimp brought back was brought before, or is none of ours.
        case unknownState
        /// The user said no on Mailchimp's page.
        case denied
        /// Mailchimp sent the browser back without a code.
        case noCode
        /// Mailchimp does not take the code: it was used, or is too old.
        case codeRefused
        /// Mailchimp does not take this program's client id and secret.
        case appRefused
        /// This program has no client id, or no address that Mailchimp can send a browser to.
        case notConfigured
        /// Mailchimp gave a token that opens nothing.
        case badToken
        /// Mailchimp could not be reached or did not answer.
        case noAnswer
        /// The key was not accepted.
        case keyRefused
        /// The login is connected already.
        case alreadyConnected
        /// The new credential belongs to another login.
        case otherLogin
        /// Another account has the name.
        case nameTaken
    }

    /// What it was.
    public let reason: Reason
    /// The account that it is about, by name.
    public let account: String?

    /// A failure, and the account that it is about.
    public init(_ reason: Reason, account: String? = nil) {
        self.reason = reason
        self.account = account
    }

    /// One line that says what happened and what to do.
    public var message: String {
        let name = account ?? ""
        return switch reason {
        case .unknownTicket:
            "there is no such connection under way: run `koppeling account connect --oauth` and open what it prints"
        case .expired: "the ten minutes are over: run the command again"
        case .used: "this address has done its work: run the command again for a new one"
        case .wrongBrowser: "the address was opened in another browser before: go on there, or run the command again"
        case .unknownState:
            "Mailchimp's answer is none that is waited for, or came twice: begin again at the address that was printed"
        case .denied: "access was not allowed at Mailchimp: run the command again and choose Allow"
        case .noCode: "Mailchimp sent the browser back without a code: run the command again"
        case .codeRefused:
            "Mailchimp did not accept its own code, which is good once and for ten minutes: run the command again"
        case .appRefused:
            "Mailchimp does not know this program: compare MAILCHIMP_CLIENT_ID and MAILCHIMP_CLIENT_SECRET, and the redirect "
                + "URI, with the app registered there"
        case .notConfigured:
            "the service center cannot connect by OAuth: set MAILCHIMP_CLIENT_ID, MAILCHIMP_CLIENT_SECRET, "
                + "KOPPELING_PUBLIC_URL and KOPPELING_SECRET_KEY for it"
        case .badToken: "Mailchimp gave a token that opens nothing: run the command again"
        case .noAnswer: "Mailchimp did not answer: run the command again in a few minutes"
        case .keyRefused: "Mailchimp does not accept this key: make a new one there, under Account, Extras, API keys"
        case .alreadyConnected:
            "this login is connected already, as account '\(name)': to replace its credential use "
                + "`koppeling account renew`, with that name"
        case .otherLogin:
            "this credential belongs to another login than that of account '\(name)': log in to Mailchimp as the "
                + "right user, or connect the other login with `koppeling account connect`"
        case .nameTaken: "there is an account '\(name)' already: give this one another --name"
        }
    }

    /// The code of the error that a command ends with.
    var code: ConnectorError.Code {
        switch reason {
        case .alreadyConnected, .nameTaken: .alreadyLinked
        case .unknownTicket: .notFound
        case .notConfigured: .badSetting
        case .keyRefused, .badToken, .codeRefused, .appRefused, .denied, .otherLogin: .refused
        default: .wrongState
        }
    }

    /// The same for whoever asked for it on a command line.
    public var error: ConnectorError { ConnectorError(code, message) }
}
