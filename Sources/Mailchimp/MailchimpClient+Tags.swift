extension MailchimpClient {
    /// How many addresses one call puts into a segment, and how many it takes out.
    public static let maximumSegmentChange = 500

    /// Reads all tags of a member; a response that does not hold them all is an error.
    public func tags(_ list: String, hash: String) async throws(MailchimpError) -> [Tag] {
        struct Page: Decodable {
            var tags: [Tag]
            var total_items: Int64?
        }
        let query = [(name: "count", value: "1000"), (name: "exclude_fields", value: "_links")]
        let page = try await decoded(.get("lists", list, "members", hash, "tags", query: query), as: Page.self)
        guard page.total_items ?? 0 <= page.tags.count else {
            throw MailchimpError(.malformedResponse, status: 200, detail: "The response does not hold all tags.")
        }
        return page.tags
    }

    /// Gives tags to a member and takes tags from it; those that are not named stay.
    ///
    /// Mailchimp says yes whatever it understood, so whoever must know reads the tags afterwards.
    ///
    /// - Parameters:
    ///   - list: The list.
    ///   - hash: The member, by the hash of its address.
    ///   - changes: What to change.
    ///   - isSyncing: Whether Mailchimp is to start no automation because of it.
    /// - Throws: `notFound` when there is no such member.
    public func changeTags(
        _ list: String, hash: String, _ changes: [TagChange], isSyncing: Bool = true
    ) async throws(MailchimpError) {
        struct Body: Encodable {
            var tags: [TagChange]
            var is_syncing: Bool
        }
        let body = Body(tags: changes, is_syncing: isSyncing)
        try await perform(.write("POST", "lists", list, "members", hash, "tags", json: body))
    }

    /// Reads a page of the list's tags, which are its static segments.
    public func tags(_ list: String, offset: Int = 0, count: Int = 1000) async throws(MailchimpError) -> TagPage {
        let query = [
            (name: "type", value: "static"), (name: "count", value: String(count)),
            (name: "offset", value: String(offset)),
            (name: "fields", value: "segments.id,segments.name,segments.member_count,total_items"),
        ]
        return try await decoded(.get("lists", list, "segments", query: query))
    }

    /// Makes a tag, and gives it to up to 500 members.
    public func createTag(
        _ list: String, name: String, addresses: [String] = []
    ) async throws(MailchimpError) -> Tag {
        struct Body: Encodable {
            var name: String
            var static_segment: [String]
        }
        let body = Body(name: name, static_segment: addresses)
        return try await decoded(.write("POST", "lists", list, "segments", json: body))
    }

    /// Gives a tag to up to 500 members and takes it from up to 500 others.
    public func changeTag(
        _ list: String, _ tag: Int64, adding: [String] = [], removing: [String] = []
    ) async throws(MailchimpError) -> SegmentChange {
        struct Body: Encodable {
            var members_to_add: [String]
            var members_to_remove: [String]
        }
        let body = Body(members_to_add: adding, members_to_remove: removing)
        var call = try Call.write("POST", "lists", list, "segments", String(tag), json: body)
        call.maximumBody = 32 << 20
        var change = try await decoded(call, as: SegmentChange.self)
        change.compare(adding: adding, removing: removing)
        return change
    }

    /// Takes a tag from all members and away.
    public func deleteTag(_ list: String, _ tag: Int64) async throws(MailchimpError) {
        try await perform(Call(method: "DELETE", path: ["lists", list, "segments", String(tag)]))
    }
}

/// One page of a list's tags.
public struct TagPage: Sendable, Hashable, Decodable {
    /// The tags.
    public var tags: [Tag]
    /// How many there are in all; nil when Mailchimp does not say.
    public var totalItems: Int64?

    private enum Key: String, CodingKey { case tags = "segments", totalItems = "total_items" }

    /// Reads a page; one without `segments` is an error.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        tags = try values.decode([Tag].self, forKey: .tags)
        totalItems = values.integer(.totalItems)
    }
}
