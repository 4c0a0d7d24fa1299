/// Where a contact stands with a list.
public enum MemberStatus: Sendable, Hashable, Codable, RawRepresentable, CustomStringConvertible {
    /// Receives mailings.
    case subscribed
    /// Has been unsubscribed, by its own hand or by somebody else's.
    case unsubscribed
    /// Bounced too often.
    case cleaned
    /// Was asked, and has not answered.
    case pending
    /// Receives transactional mail only.
    case transactional
    /// Put away; what lies beneath, even a no, cannot be seen.
    case archived
    /// A word that is not known here; never to be taken for a yes.
    case unknown(String)

    private static let known: [MemberStatus] = [
        .subscribed, .unsubscribed, .cleaned, .pending, .transactional, .archived,
    ]

    /// Reads Mailchimp's word.
    public init(rawValue: String) {
        self = Self.known.first { $0.rawValue == rawValue } ?? .unknown(rawValue)
    }

    /// Mailchimp's word.
    public var rawValue: String {
        switch self {
        case .subscribed: "subscribed"
        case .unsubscribed: "unsubscribed"
        case .cleaned: "cleaned"
        case .pending: "pending"
        case .transactional: "transactional"
        case .archived: "archived"
        case .unknown(let word): word
        }
    }

    /// Mailchimp's word.
    public var description: String { rawValue }
}
