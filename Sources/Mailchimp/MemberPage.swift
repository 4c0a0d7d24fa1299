/// One page of a listing of members.
public struct MemberPage: Sendable, Hashable, Decodable {
    /// The members.
    public var members: [Member]
    /// How many there are in all, independent of the page; nil when Mailchimp does not say.
    public var totalItems: Int64?

    private enum Key: String, CodingKey { case members, totalItems = "total_items" }

    /// Reads a page; one without `members` is an error, because "nobody" would be a dangerous guess.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        members = try values.decode([Member].self, forKey: .members)
        totalItems = values.integer(.totalItems)
    }
}
