/// A target group, as it stands.
public struct TargetGroup: Sendable, Hashable, Codable {
    /// The number the database gave.
    public var id: Int64
    /// The name, which is unique without regard to case.
    public var name: String
    /// The kind of e-mail address that is written to, once the group is linked.
    public var emailKind: String?
    /// Whether the group is linked to a mailing list.
    public var isLinked: Bool
    /// Whether everything that its rules name is there; nobody joins or leaves by the rules while it is not.
    public var isValid: Bool
    /// The version of its rules.
    public var rulesVersion: Int
    /// How many memberships are active.
    public var active: Int64
    /// How many memberships are inactive.
    public var inactive: Int64
}
