/// What became of the addresses that were to be put into a static segment, or taken out of it.
///
/// Mailchimp passes over addresses that it does not know without a word, so what it reports is compared with what was asked.
public struct SegmentChange: Sendable, Hashable, Decodable {
    /// The addresses that are in the segment now.
    public var added: [String]
    /// The addresses that have left it.
    public var removed: [String]
    /// The addresses that were refused, with Mailchimp's words.
    public var errors: [Refusal]
    /// How many Mailchimp says it has added.
    public var totalAdded: Int64
    /// How many Mailchimp says it has removed.
    public var totalRemoved: Int64

    /// The addresses that were asked for and about which nothing was said: unknown in the list, or so before.
    public internal(set) var unreported: [String] = []

    /// Whether every address is accounted for and the counts agree.
    public var isComplete: Bool {
        unreported.isEmpty && errors.isEmpty && totalAdded == added.count && totalRemoved == removed.count
    }

    /// Why some addresses were refused.
    public struct Refusal: Sendable, Hashable, Decodable {
        /// The addresses.
        public var addresses: [String]
        /// Mailchimp's words.
        public var message: String

        private enum Key: String, CodingKey { case addresses = "email_addresses", error }

        /// Reads a refusal; what it does not say is empty.
        public init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            addresses = values.lenient([String].self, .addresses) ?? []
            message = (values.text(.error) ?? "").cut(to: 1000)
        }
    }

    private enum Key: String, CodingKey {
        case added = "members_added", removed = "members_removed", errors, totalAdded = "total_added"
        case totalRemoved = "total_removed"
    }

    private struct Address: Decodable {
        var email_address: String
    }

    /// Reads a result; one that does not name the members is an error.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        added = try values.decode([Address].self, forKey: .added).map(\.email_address)
        removed = try values.decode([Address].self, forKey: .removed).map(\.email_address)
        errors = try values.decodeIfPresent([Refusal].self, forKey: .errors) ?? []
        totalAdded = values.integer(.totalAdded) ?? Int64(added.count)
        totalRemoved = values.integer(.totalRemoved) ?? Int64(removed.count)
    }

    /// Compares what is reported with what was asked.
    mutating func compare(adding: [String], removing: [String]) {
        let refused = errors.flatMap(\.addresses).map { $0.lowercased() }
        let (isAdded, isRemoved) = (
            Set(added.map { $0.lowercased() } + refused), Set(removed.map { $0.lowercased() } + refused)
        )
        unreported =
            adding.filter { !isAdded.contains($0.lowercased()) }
            + removing.filter { !isRemoved.contains($0.lowercased()) }
    }
}
