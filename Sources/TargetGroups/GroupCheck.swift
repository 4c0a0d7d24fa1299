public import FoundationEssentials

/// What a look at a group in full found.
public struct GroupCheck: Sendable, Hashable, Codable {
    /// How many memberships were not as the facts say, at the last look.
    public var defects: Int64
    /// How many at all looks.
    public var allDefects: Int64
    /// When that was.
    public var checkedAt: Date

    private enum CodingKeys: String, CodingKey {
        case defects
        case allDefects = "all_defects"
        case checkedAt = "checked_at"
    }
}
