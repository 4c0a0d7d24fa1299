import FoundationEssentials
import IO
import JobQueue
import Logging
import Mailchimp
import Postgres

/// Subscribing an archived contact again, and finding out whether a call of ours did so unawares.
///
/// Mailchimp shows only `archived`, whatever lies beneath: the activity is read before and after, and a no found there
/// wins.
extension ConnectorInstance {
    func unarchive(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Performed {
        if let no = try await nos(state, link).first {
            let outcome = try await finish(action, context) { connection in
                try await self.recordNo(no, state, link, on: connection)
            }
            return .finished(outcome)
        }
        let list = link.listID
        let reference = state.reference
        let patch = MemberPatch(status: .subscribed, mergeFields: try state.fields())
        let member = try await call(link) {
            try await $0.update(list, reference, patch, skipMergeValidation: true)
        }
        try await store(member)
        return .seen(member)
    }

    /// Looks whether a contact whom our call made subscribed had said no, and stores that he is to be unsubscribed again.
    func findNo(_ state: MemberState, _ contact: Member, _ link: Link) async throws -> Bool {
        let nos = try await nos(state, link).filter { state.stands($0, against: contact) }
        guard let no = nos.first(where: { $0.isComplaint }) ?? nos.first else { return false }
        logger.notice("a no that fell in between is restored", metadata: ["member": "\(state.id)"])
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.found_no(\(state.id)::bigint, \(no.reason)::text, \(no.at)::timestamptz, 'activity')
                """)
        }
        return true
    }

    /// The contact's unsubscribes and complaints, newest first.
    ///
    /// Activity that cannot be read counts as one.
    func nos(_ state: MemberState, _ link: Link) async throws -> [FoundNo] {
        let list = link.listID
        let reference = state.reference
        do {
            return try await call(link) {
                try await $0.activity(list, reference, actions: [.unsubscribed, .complained])
            }.map { FoundNo(isComplaint: $0.action == Activity.Action.complained.rawValue, at: $0.timestamp) }
        } catch let error as MailchimpError where error.advice != .retry && error.advice != .waitForAccount {
            return [FoundNo(isComplaint: false, at: nil)]
        }
    }

    func recordNo(
        _ no: FoundNo, _ state: MemberState, _ link: Link, on connection: Connection
    ) async throws {
        try await connection.query(
            """
            select koppeling.open_suppression(\(link.targetGroupID)::bigint, \(no.reason)::text, \(state.address)::text,
                \(state.contactID)::text, koppeling.claimants(\(state.id)::bigint), 'mailchimp',
                coalesce(\(no.at)::timestamptz, koppeling.now()), '{"found": "activity"}')
            """)
        try await connection.query("select koppeling.record_nothing(\(state.id)::bigint, \(no.reason)::text)")
    }
}

/// A no as the contact's activity has it.
struct FoundNo: Sendable {
    var isComplaint: Bool
    var at: Date?
    var reason: String { isComplaint ? "complained" : "unsubscribed" }
}

extension MemberState {
    /// By how much Mailchimp's clock may differ from ours, the time of a call included.
    private static var clockDifference: TimeInterval { 240 }

    /// Whether a create made this contact, and did not find him in the list, perhaps archived.
    func isNew(_ member: Member) -> Bool {
        guard let number = member.webID else { return false }
        return number > webIDSeen && member.source == ownSource && member.tags.isEmpty
    }

    /// Whether a no stands although the contact is subscribed now.
    ///
    /// Not if he has opted in since, himself: some time before or after our call, which Mailchimp counts as opting in too.
    func stands(_ no: FoundNo, against member: Member) -> Bool {
        guard let said = no.at, let optedIn = member.optedIn, let intentAt else { return true }
        return optedIn <= said
            || abs(optedIn.timeIntervalSince(intentAt)) <= Self.clockDifference
    }

    /// Whether the call that the intent names seems to have been carried out although the contact is archived: somebody
    /// archived him right after it, and with him hid what the call went over.
    var wasSubscribedByIntent: Bool {
        guard let optedInAt, let intentAt else { return false }
        return abs(optedInAt.timeIntervalSince(intentAt)) <= Self.clockDifference
    }
}
