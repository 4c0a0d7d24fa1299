public import FoundationEssentials

/// A list, which Mailchimp also calls an audience.
public struct MailingList: Sendable, Hashable, Decodable {
    /// The list.
    public var id: String
    /// Its name.
    public var name: String
    /// Its number on Mailchimp's pages.
    public var webID: Int64?
    /// When it was made.
    public var created: Date?
    /// Whether the list's own forms ask for a confirmation; calls of the API do not.
    public var doubleOptIn: Bool
    /// Whether the list keeps marketing permissions.
    public var marketingPermissions: Bool
    /// The form where a forgotten contact can sign up again.
    public var subscribeURL: String?
    /// How many are subscribed, from statistics that may be hours old.
    public var memberCount: Int64?

    private enum Key: String, CodingKey {
        case id, name, webID = "web_id", created = "date_created", doubleOptIn = "double_optin"
        case marketingPermissions = "marketing_permissions", subscribeURL = "subscribe_url_long", stats
        case memberCount = "member_count"
    }

    /// Reads a list; only its id must be there.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        guard let id = values.filled(.id) else {
            throw DecodingError.keyNotFound(
                Key.id, .init(codingPath: decoder.codingPath, debugDescription: "A list without an id."))
        }
        self.id = id
        name = values.text(.name) ?? ""
        webID = values.integer(.webID)
        created = values.date(.created)
        doubleOptIn = values.flag(.doubleOptIn) ?? false
        marketingPermissions = values.flag(.marketingPermissions) ?? false
        subscribeURL = values.filled(.subscribeURL)
        memberCount = (try? values.nestedContainer(keyedBy: Key.self, forKey: .stats))?.integer(.memberCount)
    }
}

/// One page of an account's lists.
public struct MailingListPage: Sendable, Hashable, Decodable {
    /// The lists.
    public var lists: [MailingList]
    /// How many there are in all; nil when Mailchimp does not say.
    public var totalItems: Int64?

    private enum Key: String, CodingKey { case lists, totalItems = "total_items" }

    /// Reads a page; one without `lists` is an error.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        lists = try values.decode([MailingList].self, forKey: .lists)
        totalItems = values.integer(.totalItems)
    }
}
