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
    /// Whether `POST /lists/{id}` looks at the tags of its members.
    public var bulkAppliesTags = true
    /// Whether adding a member to a segment that he is in counts as adding him.
    public var segmentsCountPresent = true
    /// Whether an interest or a marketing permission that the list does not have is refused; otherwise it is ignored.
    public var refusesUnknownChoices = true
    /// Whether a phone number is checked for the American format of its field.
    public var checksPhones = true
    /// Whether a list may have 80 merge fields, as on the largest plan; otherwise 30.
    public var allowsManyMergeFields = false
    /// Whether the figures of a list are those of a while ago; otherwise they are always right.
    public var statisticsAreLate = true
    /// Whether a listing without a status filter leaves archived contacts out.
    public var listingHidesArchived = true
    /// Whether `since_last_changed` includes its own instant.
    public var sinceIsInclusive = false
    /// Whether the member-state errors lack their `type`.
    public var stateErrorsLackType = true
    /// Whether `fields` together with `exclude_fields` is refused with 422; otherwise `fields` wins.
    public var refusesBothFieldLists = false
    /// Whether `fields` with a name that the answer does not have is refused with 422; otherwise it is ignored.
    public var refusesUnknownFields = false
    /// Whether a `count` above 1000 is refused; otherwise the page has 1000.
    public var refusesLargePages = false
    /// Whether addresses in domains such as example.com are refused as fake.
    public var refusesFakeAddresses = false
    /// Whether webhooks made from now on are signed.
    public var signsWebhooks = true
    /// Whether `fired_at` of webhooks is in the account's time zone; otherwise in UTC.
    public var firedAtIsLocal = false
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
        switches.refusesUnknownChoices = false
        switches.checksPhones = false
        switches.statisticsAreLate = false
        switches.allowsManyMergeFields = true
        switches.sinceIsInclusive = true
        switches.signsWebhooks = false
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
        switches.bulkAppliesTags = false
        switches.segmentsCountPresent = false
        switches.refusesBothFieldLists = true
        switches.refusesUnknownFields = true
        switches.refusesLargePages = true
        switches.refusesFakeAddresses = true
        switches.firedAtIsLocal = true
        switches.closesConnections = true
        return switches
    }
}
