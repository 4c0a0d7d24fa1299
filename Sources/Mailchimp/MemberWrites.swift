/// A contact to be added to a list.
public struct NewMember: Sendable, Hashable, Encodable {
    /// The address.
    public var emailAddress: String
    /// The status to begin with.
    public var status: MemberStatus
    /// The values by merge tag.
    public var mergeFields: [String: MergeValue]
    /// The names of its tags.
    public var tags: [String]
    /// The language, two letters, or nil for Mailchimp's choice.
    public var language: String?

    /// Makes a contact.
    public init(
        emailAddress: String, status: MemberStatus = .subscribed, mergeFields: [String: MergeValue] = [:],
        tags: [String] = [], language: String? = nil
    ) {
        self.emailAddress = emailAddress
        self.status = status
        self.mergeFields = mergeFields
        self.tags = tags
        self.language = language
    }

    /// Writes the contact under Mailchimp's names.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: WriteKey.self)
        try values.encode(emailAddress, forKey: .emailAddress)
        try values.encode(status, forKey: .status)
        if !mergeFields.isEmpty { try values.encode(mergeFields, forKey: .mergeFields) }
        if !tags.isEmpty { try values.encode(tags, forKey: .tags) }
        try values.encodeIfPresent(language, forKey: .language)
    }
}

/// A contact to be added if it is absent, and else to be changed without touching its status.
public struct MemberUpsert: Sendable, Hashable, Encodable {
    /// The address.
    public var emailAddress: String
    /// The status if the contact is new.
    public var statusIfNew: MemberStatus
    /// The status whether it is new or not: only for a change that the contact itself has stated.
    public var status: MemberStatus?
    /// The values to set, by merge tag; others stay.
    public var mergeFields: [String: MergeValue]

    /// Makes an upsert.
    public init(
        emailAddress: String, statusIfNew: MemberStatus, status: MemberStatus? = nil,
        mergeFields: [String: MergeValue] = [:]
    ) {
        self.emailAddress = emailAddress
        self.statusIfNew = statusIfNew
        self.status = status
        self.mergeFields = mergeFields
    }

    /// Writes the upsert under Mailchimp's names.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: WriteKey.self)
        try values.encode(emailAddress, forKey: .emailAddress)
        try values.encode(statusIfNew, forKey: .statusIfNew)
        try values.encodeIfPresent(status, forKey: .status)
        if !mergeFields.isEmpty { try values.encode(mergeFields, forKey: .mergeFields) }
    }
}

/// What to change of a member; what is nil or empty stays as it is.
public struct MemberPatch: Sendable, Hashable, Encodable {
    /// The new address; the member keeps its contact id.
    public var emailAddress: String?
    /// The new status: only for a change that the contact, or a user in its name, has stated.
    public var status: MemberStatus?
    /// The values to set, by merge tag; others stay, and "" clears.
    public var mergeFields: [String: MergeValue]
    /// The language, two letters.
    public var language: String?

    /// Makes a patch.
    public init(
        emailAddress: String? = nil, status: MemberStatus? = nil, mergeFields: [String: MergeValue] = [:],
        language: String? = nil
    ) {
        self.emailAddress = emailAddress
        self.status = status
        self.mergeFields = mergeFields
        self.language = language
    }

    /// Writes only what changes, under Mailchimp's names.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: WriteKey.self)
        try values.encodeIfPresent(emailAddress, forKey: .emailAddress)
        try values.encodeIfPresent(status, forKey: .status)
        if !mergeFields.isEmpty { try values.encode(mergeFields, forKey: .mergeFields) }
        try values.encodeIfPresent(language, forKey: .language)
    }
}

private enum WriteKey: String, CodingKey {
    case emailAddress = "email_address", status, statusIfNew = "status_if_new", mergeFields = "merge_fields", tags,
        language
}
