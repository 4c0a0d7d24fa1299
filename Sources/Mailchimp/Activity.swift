public import FoundationEssentials

/// Something that a member did, or that happened to its mail.
public struct Activity: Sendable, Hashable, Decodable {
    /// The kinds that the project asks for.
    public enum Action: String, Sendable, Hashable {
        /// The contact unsubscribed.
        case unsubscribed = "unsub"
        /// The contact called a mailing spam.
        case complained = "abuse"
    }

    /// Mailchimp's word for what happened, such as `unsub`.
    public var action: String
    /// When; nil when Mailchimp does not say.
    public var timestamp: Date?
    /// More about the action, such as who did it.
    public var type: String?
    /// The campaign that it was about.
    public var campaignID: String?

    private enum Key: String, CodingKey { case action, timestamp, type, campaignID = "campaign_id" }

    /// Reads an activity; it must say what happened.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        action = try values.decode(String.self, forKey: .action)
        timestamp = values.date(.timestamp)
        type = values.filled(.type)
        campaignID = values.filled(.campaignID)
    }
}
