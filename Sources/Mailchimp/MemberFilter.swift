public import FoundationEssentials

/// Which members to list, and which part of them.
public struct MemberFilter: Sendable, Hashable {
    /// What to sort by.
    public enum Sort: String, Sendable, Hashable {
        /// By the last change.
        case lastChanged = "last_changed"
        /// By the moment of opting in.
        case optedIn = "timestamp_opt"
        /// By the moment of signing up.
        case signedUp = "timestamp_signup"
    }

    /// Only members of this status; without one Mailchimp leaves the archived out.
    public var status: MemberStatus?
    /// Only members that changed after this moment, to the second.
    public var sinceLastChanged: Date?
    /// Only members that changed before this moment.
    public var beforeLastChanged: Date?
    /// Only members that unsubscribed after this moment; no other status than `unsubscribed` goes with it.
    public var unsubscribedSince: Date?
    /// Only the member with this name of its address across all of Mailchimp, as a webhook gives it.
    public var uniqueEmailID: String?
    /// How many to skip.
    public var offset: Int
    /// How many to return; Mailchimp allows at most 1,000.
    public var count: Int
    /// What to sort by, or nil for Mailchimp's own order.
    public var sort: Sort?
    /// Whether the newest come first of what is sorted, and not the oldest.
    public var newestFirst: Bool
    /// The fields of a member to return, by Mailchimp's names.
    public var fields: [String]

    /// What the types of this module read, and no more.
    public static let defaultFields = [
        "id", "contact_id", "web_id", "unique_email_id", "email_address", "status", "merge_fields",
        "unsubscribe_reason",
        "source", "language", "last_changed", "timestamp_opt",
    ]

    /// Makes a filter; without arguments it asks for the first thousand members.
    public init(
        status: MemberStatus? = nil, sinceLastChanged: Date? = nil, beforeLastChanged: Date? = nil,
        unsubscribedSince: Date? = nil, uniqueEmailID: String? = nil, offset: Int = 0, count: Int = 1000,
        sort: Sort? = nil, newestFirst: Bool = false, fields: [String] = MemberFilter.defaultFields
    ) {
        self.status = status
        self.sinceLastChanged = sinceLastChanged
        self.beforeLastChanged = beforeLastChanged
        self.unsubscribedSince = unsubscribedSince
        self.uniqueEmailID = uniqueEmailID
        self.offset = offset
        self.count = count
        self.sort = sort
        self.newestFirst = newestFirst
        self.fields = fields
    }

    var query: [(name: String, value: String)] {
        let members = count == 0 ? [] : fields.map { "members.\($0)" }
        var query = [
            (name: "count", value: String(max(count, 1))), (name: "offset", value: String(offset)),
            (name: "fields", value: (members + ["total_items"]).joined(separator: ",")),
        ]
        if let status = unsubscribedSince == nil ? status : .unsubscribed {
            query.append(("status", status.rawValue))
        }
        if let unsubscribedSince { query.append(("unsubscribed_since", Timestamp.format(unsubscribedSince))) }
        if let uniqueEmailID { query.append(("unique_email_id", uniqueEmailID)) }
        if let sinceLastChanged { query.append(("since_last_changed", Timestamp.format(sinceLastChanged))) }
        if let beforeLastChanged { query.append(("before_last_changed", Timestamp.format(beforeLastChanged))) }
        if let sort { query += [("sort_field", sort.rawValue), ("sort_dir", newestFirst ? "DESC" : "ASC")] }
        return query
    }
}
