/// A tag of a list; Mailchimp keeps it as a static segment of the same number.
public struct Tag: Sendable, Hashable, Decodable {
    /// The number, which is also the segment's.
    public var id: Int64
    /// The name as it was first written; another spelling of it is the same tag.
    public var name: String
    /// How many members have it; nil when Mailchimp does not say.
    public var memberCount: Int64?

    private enum Key: String, CodingKey { case id, name, memberCount = "member_count" }

    /// Reads a tag; its number and its name must be there.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        guard let id = values.integer(.id), let name = values.filled(.name) else {
            throw DecodingError.keyNotFound(
                Key.id, .init(codingPath: decoder.codingPath, debugDescription: "A tag without number and name."))
        }
        self.id = id
        self.name = name
        memberCount = values.integer(.memberCount)
    }
}

/// A tag to be given to a member or taken from it.
public struct TagChange: Sendable, Hashable, Encodable {
    /// The tag; one that is not known is made.
    public var name: String
    /// Whether the member is to have it.
    public var isActive: Bool

    /// Makes a change.
    public init(_ name: String, isActive: Bool) {
        self.name = name
        self.isActive = isActive
    }

    private enum Key: String, CodingKey { case name, status }

    /// Writes the change under Mailchimp's names.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(name, forKey: .name)
        try values.encode(isActive ? "active" : "inactive", forKey: .status)
    }
}
