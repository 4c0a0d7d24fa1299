/// A receiver of a list's events.
struct Webhook: Sendable {
    static let eventNames = ["subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"]
    static let sourceNames = ["user", "admin", "api"]

    let id: String
    var url: String
    var events: Set<String>
    var sources: Set<String>
    /// What its deliveries are signed with; none for a webhook whose deliveries are not.
    let secret: String?
    /// How many deliveries in a row were given up.
    var failures = 0
    /// Why nothing is delivered any more.
    var disabled: String?
}

/// Something that happened to a member and that webhooks may tell.
enum MemberEvent {
    case status(from: MemberStatus?, to: MemberStatus, complaint: Bool = false)
    /// The address changed; the former one is given.
    case address(String)
    case profile
}
