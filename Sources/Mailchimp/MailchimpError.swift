public import HTTPClient

/// Why a call to Mailchimp did not do what was asked.
public struct MailchimpError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What Mailchimp, or the way to it, had against the call.
    public enum Code: String, Sendable, Hashable, CaseIterable {
        /// The key or token is missing, wrong or withdrawn.
        case invalidKey
        /// The code that was to be changed into a token is wrong, used or too old.
        case invalidGrant
        /// Mailchimp does not know this program by its client id and secret.
        case invalidClient
        /// The user behind the key may not do this.
        case forbidden
        /// The user behind the key has been disabled.
        case userDisabled
        /// The key belongs to another data centre.
        case wrongDataCentre
        /// Mailchimp has closed the account or the method to it.
        case accountBlocked
        /// The account has as many contacts as its plan allows, or owes money.
        case contactLimit
        /// The list, the member or the webhook does not exist.
        case notFound
        /// The member's state does not allow this call; archiving one that is cleaned, pending or archived.
        case methodNotAllowed
        /// The address is in the list already.
        case memberExists
        /// The contact has said no, bounced, or is under review: Mailchimp does not let others subscribe it.
        case complianceState
        /// The contact was deleted for good and can come back only by its own hand.
        case forgotten
        /// The address is not an address.
        case invalidAddress
        /// Mailchimp takes the address for an invented one.
        case fakeAddress
        /// The address was signed up to many lists lately, by whomever.
        case signedUpTooOften
        /// A merge field's value does not fit, or a required one is missing.
        case invalidMergeFields
        /// The new address of a member belongs to another member.
        case addressTaken
        /// The member's status does not allow its address to change.
        case addressFixed
        /// The list has as many merge fields as the plan allows.
        case mergeFieldLimit
        /// A merge field, a tag or a webhook of that name or address is there already.
        case alreadyThere
        /// We sent something that the API's schema does not allow.
        case schema
        /// The call is sent on to another place, where the credential must not go.
        case redirected
        /// The connection is not secure enough for Mailchimp: in the clear, or by an old version of TLS.
        case insecure
        /// Too many calls at once.
        case tooManyRequests
        /// Mailchimp, or the network in front of it, cannot answer now.
        case overloaded
        /// No response came.
        case transport
        /// A response came that cannot be read.
        case malformedResponse
        /// Something that is not known here.
        case other
    }

    /// A field that was refused, and why.
    public struct Field: Sendable, Hashable {
        /// The name as Mailchimp gives it: a merge tag, or a word such as `email address`.
        public var field: String
        /// Mailchimp's words.
        public var message: String

        /// Makes a field.
        public init(field: String, message: String) {
            self.field = field
            self.message = message
        }
    }

    /// What it was, to switch on.
    public var code: Code

    /// The HTTP status, when there was a response.
    public var status: Int?

    /// Mailchimp's title of the problem, or "".
    public var title: String

    /// Mailchimp's words, or ours; they may hold a contact's address, unlike ``description``.
    public var detail: String

    /// The refused fields.
    public var fields: [Field]

    /// What to quote to Mailchimp's support.
    public var requestID: String?

    /// What the transport reported, when no response came.
    public var cause: HTTPError?

    /// Whether Mailchimp may have carried the call out all the same: look before repeating it.
    public var mayHaveBeenProcessed: Bool

    /// Makes an error.
    public init(
        _ code: Code, status: Int? = nil, title: String = "", detail: String, fields: [Field] = [],
        requestID: String? = nil, cause: HTTPError? = nil, mayHaveBeenProcessed: Bool = false
    ) {
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.fields = fields
        self.requestID = requestID
        self.cause = cause
        self.mayHaveBeenProcessed = mayHaveBeenProcessed
    }

    /// Wraps the transport's error.
    init(_ cause: HTTPError) {
        self.init(
            .transport, detail: cause.message, cause: cause, mayHaveBeenProcessed: cause.requestMayHaveBeenProcessed)
    }

    /// One line that is fit for a log: short, and addresses are left out.
    public var description: String {
        guard let requestID else { return reason }
        return reason + ", " + fitForLog("request \(requestID)")
    }

    /// The same for every contact that is refused for the same: the description without what names the request.
    public var reason: String {
        var parts = ["\(code.rawValue)"]
        if let status { parts.append("status \(status)") }
        let words = [title, detail] + fields.prefix(5).map { "\($0.field): \($0.message)" }
        parts += words.filter { !$0.isEmpty }
        return parts.map { fitForLog($0) }.joined(separator: ", ")
    }

    /// Whether the task was cancelled, which is no fault of anybody.
    public var isCancellation: Bool { cause?.code == .cancelled }
}

/// The same text on one line, cut, and with a mark in the place of every word that looks like an address.
func fitForLog(_ text: String) -> String {
    text.cut(to: 300).split(omittingEmptySubsequences: false) { $0.isWhitespace || $0.isControl }
        .map { $0.contains("@") || $0.lowercased().contains("%40") ? "(address)" : $0 }
        .joined(separator: " ")
}

extension Character {
    fileprivate var isControl: Bool { unicodeScalars.contains { $0.properties.generalCategory == .control } }
}
