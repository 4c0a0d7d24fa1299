/// The account behind a credential.
public struct Account: Sendable, Hashable, Decodable {
    /// The account.
    public var accountID: String
    /// The user to whom the credential belongs: Mailchimp counts connections per user.
    public var loginID: String?
    /// The account's name.
    public var accountName: String
    /// The user's name.
    public var username: String?
    /// The account's own address.
    public var email: String?
    /// The user's role, such as `owner`.
    public var role: String?
    /// How the account pays, such as `forever_free`.
    public var pricingPlan: String?
    /// The account's time zone, such as `Europe/Amsterdam`.
    public var timeZone: String?
    /// How many subscribers all lists have together, as Mailchimp last counted.
    public var totalSubscribers: Int64?

    private enum Key: String, CodingKey {
        case accountID = "account_id", loginID = "login_id", accountName = "account_name", username, email, role
        case pricingPlan = "pricing_plan_type", timeZone = "account_timezone", totalSubscribers = "total_subscribers"
    }

    /// Reads an account; only its id must be there.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        guard let id = values.filled(.accountID) else {
            throw DecodingError.keyNotFound(
                Key.accountID, .init(codingPath: decoder.codingPath, debugDescription: "An account without an id."))
        }
        accountID = id
        loginID = values.filled(.loginID)
        accountName = values.text(.accountName) ?? ""
        username = values.filled(.username)
        email = values.filled(.email)
        role = values.filled(.role)
        pricingPlan = values.filled(.pricingPlan)
        timeZone = values.filled(.timeZone)
        totalSubscribers = values.integer(.totalSubscribers)
    }
}
