/// A company of the person file, as it stands.
public struct Company: Sendable, Hashable, Codable {
    /// The number the database gave.
    public var id: Int64
    /// The system that the company comes from.
    public var source: String
    /// The identity in that system.
    public var externalID: String
    /// The name; the identity for a company that only positions have named so far.
    public var name: String
    /// The categories.
    public var categories: [String]
    /// How many persons have a position there.
    public var persons: Int64

    enum CodingKeys: String, CodingKey {
        case id, source, name, categories, persons
        case externalID = "external_id"
    }
}
