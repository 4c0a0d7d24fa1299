/// Where Mailchimp reports what happens in a list.
public struct Webhook: Sendable, Hashable, Decodable {
    /// What to report.
    public struct Events: Sendable, Hashable, Codable {
        /// Somebody subscribed.
        public var subscribe: Bool
        /// Somebody unsubscribed.
        public var unsubscribe: Bool
        /// Somebody's data changed.
        public var profile: Bool
        /// An address bounced too often.
        public var cleaned: Bool
        /// Somebody's address changed.
        public var upemail: Bool
        /// A campaign was sent.
        public var campaign: Bool

        /// Makes a choice; by default everything about members.
        public init(
            subscribe: Bool = true, unsubscribe: Bool = true, profile: Bool = true, cleaned: Bool = true,
            upemail: Bool = true, campaign: Bool = false
        ) {
            self.subscribe = subscribe
            self.unsubscribe = unsubscribe
            self.profile = profile
            self.cleaned = cleaned
            self.upemail = upemail
            self.campaign = campaign
        }

        private enum Key: String, CodingKey { case subscribe, unsubscribe, profile, cleaned, upemail, campaign }

        /// Reads a choice; what is not named is off.
        public init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            self.init(
                subscribe: values.flag(.subscribe) ?? false, unsubscribe: values.flag(.unsubscribe) ?? false,
                profile: values.flag(.profile) ?? false, cleaned: values.flag(.cleaned) ?? false,
                upemail: values.flag(.upemail) ?? false, campaign: values.flag(.campaign) ?? false)
        }
    }

    /// Whose doings to report.
    public struct Sources: Sendable, Hashable, Codable {
        /// The contact's own.
        public var user: Bool
        /// Those of the account's users in Mailchimp.
        public var admin: Bool
        /// Those of programs, our own among them.
        public var api: Bool

        /// Makes a choice; by default what people do, so that our own calls do not come back to us.
        public init(user: Bool = true, admin: Bool = true, api: Bool = false) {
            self.user = user
            self.admin = admin
            self.api = api
        }

        private enum Key: String, CodingKey { case user, admin, api }

        /// Reads a choice; what is not named is off.
        public init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            self.init(
                user: values.flag(.user) ?? false, admin: values.flag(.admin) ?? false, api: values.flag(.api) ?? false)
        }
    }

    /// The webhook.
    public var id: String
    /// Where the reports go.
    public var url: String
    /// What is reported.
    public var events: Events?
    /// Whose doings are reported.
    public var sources: Sources?
    /// What the reports are signed with; Mailchimp shows it only once, to whoever makes the webhook.
    public var signingSecret: SigningSecret?
    /// Whether the reports are signed; nil when Mailchimp does not say, as of webhooks that are older than signatures.
    public var isSigned: Bool?

    private enum Key: String, CodingKey {
        case id, url, events, sources, signingSecret = "signing_secret", isSigned = "signing_enabled"
    }

    /// Reads a webhook; only its id must be there.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        id = try values.decode(String.self, forKey: .id)
        url = values.text(.url) ?? ""
        events = values.lenient(Events.self, .events)
        sources = values.lenient(Sources.self, .sources)
        signingSecret = values.filled(.signingSecret).flatMap(SigningSecret.init)
        isSigned = values.flag(.isSigned)
    }
}

/// The webhooks of a list.
struct WebhookPage: Decodable {
    var webhooks: [Webhook]
}
