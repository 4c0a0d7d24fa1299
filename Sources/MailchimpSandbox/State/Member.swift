/// A contact of a list.
struct Member: Sendable {
    /// The MD5 of the lower-cased address; it moves with the address.
    var hash: HexID
    var address: String
    /// Stays the same for as long as the contact exists.
    let contactID: HexID
    /// Stays the same for as long as the contact exists.
    let webID: Int
    var consent: Consent
    /// The values in the order of the list's merge fields; shorter where fields came later.
    var merge: [JSON] = []
    /// In the order in which they were given.
    var tags: [MemberTag] = []
    var agreements = Agreements()
    var emailType = "html"
    var language = ""
    var isVIP = false
    var source = "API - Generic"
    var ipSignup = ""
    var timestampSignup: Int?
    var ipOpt = ""
    var timestampOpt: Int?
    var lastChanged: Int
    var history: [HistoryEntry] = []
    var activity: [ActivityEntry] = []
    /// How often a call wrote this contact, how often that changed nothing, and how often it made him subscribed.
    var writes = WriteCounts()

    var status: MemberStatus { consent.status }

    /// The name of the address in all of Mailchimp, which moves with it.
    var uniqueEmailID: String { HexID.digits(hash.low ^ (hash.high >> 7), 10) }
}

/// Counts of the calls that wrote one contact.
struct WriteCounts: Sendable, Equatable {
    var all = 0
    var unchanged = 0
    var subscribing = 0
}

/// Something that happened to a contact, for whoever looks through the control door.
struct HistoryEntry: Sendable {
    let at: Int
    let party: Party
    let what: String
}

/// Something that a contact did, as the activity of the API has it.
struct ActivityEntry: Sendable {
    let at: Int
    let action: String
}
