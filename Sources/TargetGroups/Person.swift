/// A person of the person file, as it stands.
public struct Person: Sendable, Hashable, Codable {
    /// Whether a person takes part.
    public enum State: String, Sendable, Hashable, Codable {
        /// In the person file.
        case active
        /// Kept, but out of every group.
        case archived
        /// Forgotten; nothing but an empty record is left.
        case erased
    }

    /// What a person is, and where.
    public struct Position: Sendable, Hashable, Codable {
        /// The function.
        public var function: String?
        /// The department.
        public var department: String?
        /// The company's id in the system it comes from.
        public var company: String?
        /// The company's name.
        public var companyName: String?

        enum CodingKeys: String, CodingKey {
            case function, department, company
            case companyName = "company_name"
        }
    }

    /// The number the database gave.
    public var id: Int64
    /// The system that the person comes from.
    public var source: String
    /// The identity in that system.
    public var externalID: String
    /// The given name.
    public var givenName: String?
    /// The initials.
    public var initials: String?
    /// The prefixes of the family name (tussenvoegsels).
    public var prefixes: String?
    /// The family name, without prefixes.
    public var familyName: String?
    /// The gender: male, female, other or unknown.
    public var gender: String
    /// Whether the person takes part.
    public var state: State
    /// The e-mail addresses by kind.
    public var emails: [String: String]
    /// The categories, each as "Group / Name".
    public var categories: [String]
    /// The positions.
    public var positions: [Position]

    enum CodingKeys: String, CodingKey {
        case id, source, initials, prefixes, gender, state, emails, categories, positions
        case externalID = "external_id"
        case givenName = "given_name"
        case familyName = "family_name"
    }
}
