/// The points on which the real API's behaviour is not certain, each of which can be set either way.
///
/// A client that is right under both ``permissive`` and ``strict`` does not depend on a guess.
public struct SandboxSwitches: Sendable, Equatable {
    /// Whether a contact who unsubscribed himself can be made pending, which sends him a confirmation.
    public var pendingAfterOwnUnsubscribe = true
    /// Whether a pending contact can be made subscribed by the API.
    public var pendingToSubscribed = true
    /// Whether a cleaned contact can be made unsubscribed.
    public var cleanedToUnsubscribed = true
    /// Whether a cleaned contact can be made pending.
    public var cleanedToPending = false
    /// Whether archiving hides an earlier own unsubscribe or bounce, so that the contact can be subscribed again.
    public var archiveHidesRefusal = false
    /// Whether an archived contact who unsubscribes stays archived to the API; otherwise he becomes unsubscribed.
    public var archivedUnsubscribeIsHidden = false
    /// Whether `POST /lists/{id}` takes an archived contact for a new one; otherwise it answers that he exists.
    public var bulkRevivesArchived = true
    /// Whether `POST /lists/{id}` leaves a refused status as it is without an error.
    public var bulkRefusesSilently = true
    /// Whether `POST /lists/{id}` fires webhooks.
    public var bulkFiresWebhooks = true
    /// Whether a listing without a status filter leaves archived contacts out.
    public var listingHidesArchived = true
    /// Whether `since_last_changed` includes its own instant.
    public var sinceIsInclusive = false
    /// Whether the member-state errors lack their `type`.
    public var stateErrorsLackType = true
    /// Whether `fields` together with `exclude_fields` is refused with 422; otherwise `fields` wins.
    public var refusesBothFieldLists = false
    /// Whether addresses in domains such as example.com are refused as fake.
    public var refusesFakeAddresses = false
    /// Whether an answer ends its connection.
    public var closesConnections = false

    /// The likelier side of every point.
    public init() {}

    /// Every point on the side that lets a call through.
    public static var permissive: SandboxSwitches {
        var switches = SandboxSwitches()
        switches.cleanedToPending = true
        switches.archiveHidesRefusal = true
        switches.archivedUnsubscribeIsHidden = true
        switches.sinceIsInclusive = true
        return switches
    }

    /// Every point on the side that refuses.
    public static var strict: SandboxSwitches {
        var switches = SandboxSwitches()
        switches.pendingAfterOwnUnsubscribe = false
        switches.pendingToSubscribed = false
        switches.cleanedToUnsubscribed = false
        switches.bulkRevivesArchived = false
        switches.bulkRefusesSilently = false
        switches.refusesBothFieldLists = true
        switches.refusesFakeAddresses = true
        switches.closesConnections = true
        return switches
    }

    /// The names that the control door and the documentation use.
    static var names: [(name: String, path: any WritableKeyPath<SandboxSwitches, Bool> & Sendable)] {
        [
            ("pending_after_own_unsubscribe", \.pendingAfterOwnUnsubscribe),
            ("pending_to_subscribed", \.pendingToSubscribed),
            ("cleaned_to_unsubscribed", \.cleanedToUnsubscribed),
            ("cleaned_to_pending", \.cleanedToPending),
            ("archive_hides_refusal", \.archiveHidesRefusal),
            ("archived_unsubscribe_is_hidden", \.archivedUnsubscribeIsHidden),
            ("bulk_revives_archived", \.bulkRevivesArchived),
            ("bulk_refuses_silently", \.bulkRefusesSilently),
            ("bulk_fires_webhooks", \.bulkFiresWebhooks),
            ("listing_hides_archived", \.listingHidesArchived),
            ("since_is_inclusive", \.sinceIsInclusive),
            ("state_errors_lack_type", \.stateErrorsLackType),
            ("refuses_both_field_lists", \.refusesBothFieldLists),
            ("refuses_fake_addresses", \.refusesFakeAddresses),
            ("closes_connections", \.closesConnections),
        ]
    }
}
