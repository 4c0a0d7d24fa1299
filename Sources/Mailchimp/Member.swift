public import FoundationEssentials

/// A contact as a member of one list.
public struct Member: Sendable, Hashable {
    /// The hash of the address; it changes with the address.
    public var id: String
    /// The name that stays when the address changes; nil when it was not asked for or Mailchimp left it out.
    public var contactID: String?
    /// The number that stays when the address changes.
    public var webID: Int64?
    /// The address across all of Mailchimp; it changes with the address.
    public var uniqueEmailID: String?
    /// The address as Mailchimp writes it.
    public var emailAddress: String
    /// Where the contact stands.
    public var status: MemberStatus
    /// The values by merge tag.
    public var mergeFields: [String: MergeValue]
    /// Why it is unsubscribed; Mailchimp gives one only while it is.
    public var unsubscribeReason: String?
    /// How it came into the list, such as `API - Generic`.
    public var source: String?
    /// The language, two letters.
    public var language: String?
    /// The names of its tags; a listing gives at most fifty.
    public var tags: [String]
    /// When status, address, merge fields or tags changed last, to the second.
    public var lastChanged: Date?
    /// When it opted in.
    public var optedIn: Date?
    /// The list.
    public var listID: String?

    /// Makes a member.
    public init(
        id: String, contactID: String? = nil, webID: Int64? = nil, uniqueEmailID: String? = nil, emailAddress: String,
        status: MemberStatus, mergeFields: [String: MergeValue] = [:], unsubscribeReason: String? = nil,
        source: String? = nil, language: String? = nil, tags: [String] = [], lastChanged: Date? = nil,
        optedIn: Date? = nil, listID: String? = nil
    ) {
        self.id = id
        self.contactID = contactID
        self.webID = webID
        self.uniqueEmailID = uniqueEmailID
        self.emailAddress = emailAddress
        self.status = status
        self.mergeFields = mergeFields
        self.unsubscribeReason = unsubscribeReason
        self.source = source
        self.language = language
        self.tags = tags
        self.lastChanged = lastChanged
        self.optedIn = optedIn
        self.listID = listID
    }
}

extension Member: Codable {
    private enum Key: String, CodingKey {
        case id, contactID = "contact_id", webID = "web_id", uniqueEmailID = "unique_email_id"
        case emailAddress = "email_address", status, mergeFields = "merge_fields"
        case unsubscribeReason = "unsubscribe_reason", source, language, tags, lastChanged = "last_changed"
        case optedIn = "timestamp_opt", listID = "list_id"
    }

    /// Reads a member; only its identity and status must be there.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        let address = values.filled(.emailAddress)
        guard let id = values.filled(.id) ?? address.map(subscriberHash) else {
            throw DecodingError.keyNotFound(
                Key.id, .init(codingPath: decoder.codingPath, debugDescription: "A member without id and address."))
        }
        guard let status = values.filled(.status) else {
            throw DecodingError.keyNotFound(
                Key.status, .init(codingPath: decoder.codingPath, debugDescription: "A member without a status."))
        }
        self.init(
            id: id, contactID: values.filled(.contactID), webID: values.integer(.webID),
            uniqueEmailID: values.filled(.uniqueEmailID), emailAddress: address ?? "",
            status: MemberStatus(rawValue: status),
            mergeFields: values.lenient([String: MergeValue].self, .mergeFields) ?? [:],
            unsubscribeReason: values.filled(.unsubscribeReason), source: values.filled(.source),
            language: values.filled(.language),
            tags: (values.lenient([MemberTag].self, .tags) ?? []).map(\.name).filter { !$0.isEmpty },
            lastChanged: values.date(.lastChanged), optedIn: values.date(.optedIn), listID: values.filled(.listID))
    }

    /// Writes the member under Mailchimp's names.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(id, forKey: .id)
        try values.encodeIfPresent(contactID, forKey: .contactID)
        try values.encodeIfPresent(webID, forKey: .webID)
        try values.encodeIfPresent(uniqueEmailID, forKey: .uniqueEmailID)
        try values.encode(emailAddress, forKey: .emailAddress)
        try values.encode(status, forKey: .status)
        try values.encode(mergeFields, forKey: .mergeFields)
        try values.encodeIfPresent(unsubscribeReason, forKey: .unsubscribeReason)
        try values.encodeIfPresent(source, forKey: .source)
        try values.encodeIfPresent(language, forKey: .language)
        try values.encode(tags.map { MemberTag(name: $0) }, forKey: .tags)
        try values.encodeIfPresent(lastChanged.map(Timestamp.format), forKey: .lastChanged)
        try values.encodeIfPresent(optedIn.map(Timestamp.format), forKey: .optedIn)
        try values.encodeIfPresent(listID, forKey: .listID)
    }
}

/// A tag of a member: an object with a name, or the bare name.
private struct MemberTag: Codable {
    var name: String

    enum Key: String, CodingKey { case name }

    init(name: String) {
        self.name = name
    }

    init(from decoder: any Decoder) throws {
        if let values = try? decoder.container(keyedBy: Key.self) {
            name = values.text(.name) ?? ""
        } else {
            name = try decoder.singleValueContainer().decode(String.self)
        }
    }

    func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(name, forKey: .name)
    }
}
