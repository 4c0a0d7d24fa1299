import FoundationEssentials
import Postgres

/// Everything that a step is decided on: what is wanted of an audience member, and what is known of it.
///
/// Read in one statement by `koppeling.member_states`, so that both sides are of the same moment.
struct MemberState: Sendable, Equatable {
    /// Who put the contact into the list.
    enum Ownership: String, Sendable { case none, created, adopted, foreign }

    /// A call that was about to be made and whose answer was never recorded.
    enum Intent: String, Sendable { case creating, updating, moving, archiving, unsubscribing, inviting, erasing }

    /// The status as last seen; nil when the address was never looked up.
    enum Status: String, Sendable {
        case absent, subscribed, unsubscribed, cleaned, pending, transactional, archived
    }

    var id: Int64
    var contactID: String?
    /// Mailchimp's own name for it: the hash of its address, as last read.
    var remoteID: String?
    var address: String
    var addressKey: String
    var fileKey: String?
    var status: Status?
    var ownership = Ownership.none
    var archivedByUs = false
    var intent: Intent?
    var movingTo: String?
    var appliedFields: JSONText?
    /// How many memberships claim this contact.
    var claims = 0
    /// The primary claim's address as the person file spells it, and its key.
    var wantedAddress: String?
    var wantedKey: String?
    /// The primary claim's merge fields, an object of tag and text.
    var wantedFields: JSONText?
    /// Open suppressions that bind this contact, and those that bind the address it moves to.
    var reasons: [String] = []
    var targetReasons: [String] = []
    /// A user recorded the person's own no: Mailchimp has to follow.
    var unsubscribeHere = false
    /// A user took back a removal that was made inside Mailchimp.
    var reactivated = false
    var keepsAdopted = false
    /// A call of ours made the contact subscribed although he had said no: he is to be unsubscribed again.
    var restoresNo = false
    /// The contact is to be deleted for good, because its person was erased.
    var isErased = false
    /// Since when the contact is to be invited, which a user recorded; nil when it is not, or not now.
    var invitedAt: Date?
    /// When the call began that the intent names.
    var intentAt: Date?
    /// When the contact opted in last, as Mailchimp has it: a call that subscribes counts as opting in too.
    var optedInAt: Date?
    /// The highest `web_id` that was met in the list so far.
    var webIDSeen: Int64 = 0
    /// How Mailchimp names the source of contacts whom our calls make.
    var ownSource = ""

    init(id: Int64, address: String) {
        self.id = id
        self.address = address
        addressKey = address.lowercased()
    }

    /// Reads the state of a member; nil when the member was merged into another.
    static func load(_ id: Int64, from pool: Pool) async throws -> MemberState? {
        let rows = try await pool.query(
            """
            select id, contact_id, remote_id, address, address_key, file_key, status, ownership, archived_by_us, intent, moving_to,
                   applied_fields, claims, wanted_address, wanted_key, wanted_fields, reasons, target_reasons,
                   unsubscribe_here, reactivated, keeps_adopted, restores_no, intent_at, opted_in_at, web_id_seen,
                   own_source, is_erased, invited_at
            from koppeling.member_states(array[\(id)::bigint])
            """)
        return try rows.first.map(MemberState.init)
    }

    private init(_ row: Row) throws {
        id = try row.decode("id")
        contactID = try row.decode("contact_id")
        remoteID = try row.decode("remote_id")
        address = try row.decode("address")
        addressKey = try row.decode("address_key")
        fileKey = try row.decode("file_key")
        status = try row.decode("status", as: String?.self).flatMap(Status.init)
        ownership = Ownership(rawValue: try row.decode("ownership")) ?? .none
        archivedByUs = try row.decode("archived_by_us")
        intent = try row.decode("intent", as: String?.self).flatMap(Intent.init)
        movingTo = try row.decode("moving_to")
        appliedFields = try row.decode("applied_fields")
        claims = Int(try row.decode("claims", as: Int64.self))
        wantedAddress = try row.decode("wanted_address")
        wantedKey = try row.decode("wanted_key")
        wantedFields = try row.decode("wanted_fields")
        reasons = try row.decode("reasons")
        targetReasons = try row.decode("target_reasons")
        unsubscribeHere = try row.decode("unsubscribe_here")
        reactivated = try row.decode("reactivated")
        keepsAdopted = try row.decode("keeps_adopted")
        restoresNo = try row.decode("restores_no")
        intentAt = try row.decode("intent_at")
        optedInAt = try row.decode("opted_in_at")
        webIDSeen = try row.decode("web_id_seen")
        ownSource = try row.decode("own_source")
        isErased = try row.decode("is_erased")
        invitedAt = try row.decode("invited_at")
    }
}
