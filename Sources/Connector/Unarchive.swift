import FoundationEssentials
import IO
import JobQueue
import Logging
import Mailchimp
import Postgres

/// Subscribing an archived contact again. Mailchimp shows only `archived`, whatever lies beneath: its activity is read
/// before and after, and a no found there wins.
extension ConnectorInstance {
    /// How often the activity is asked for after the call before the job is put back.
    private static var readings: Int { 3 }

    func unarchive(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        if try await saidNo(state, link) {
            return try await finish(action, context) { connection in
                try await self.recordNo(state, link, on: connection)
            }
        }
        let list = link.listID
        let reference = state.reference
        let patch = MemberPatch(status: .subscribed, mergeFields: try state.fields())
        let member = try await call(link) {
            try await $0.update(list, reference, patch, skipMergeValidation: true)
        }
        if try await saidNoMeanwhile(state, link) {
            let restored = try await call(link) {
                try await $0.update(list, reference, MemberPatch(status: .unsubscribed), skipMergeValidation: true)
            }
            logger.notice("a no that fell in between was restored", metadata: ["member": "\(state.id)"])
            return try await finish(action, context) { connection in
                try await self.recordNo(state, link, on: connection)
                try await connection.query(
                    """
                    select koppeling.record_call(\(state.id)::bigint, null, null,
                        \(try JSONText(encoding: restored))::jsonb)
                    """)
            }
        }
        return try await record(action, member, as: .unarchive, of: state, context)
    }

    private func saidNoMeanwhile(_ state: MemberState, _ link: Link) async throws -> Bool {
        for _ in 1..<Self.readings {
            do {
                return try await saidNo(state, link)
            } catch let error as MailchimpError {
                logger.debug("reading the activity again", metadata: ["code": "\(error.code)"])
                continue
            }
        }
        return try await saidNo(state, link)
    }

    /// Whether the contact's activity shows an unsubscribe or a complaint.
    ///
    /// Activity that cannot be read counts as one.
    private func saidNo(_ state: MemberState, _ link: Link) async throws -> Bool {
        let list = link.listID
        let reference = state.reference
        do {
            return try await call(link) {
                !(try await $0.activity(list, reference, actions: [.unsubscribed, .complained]).isEmpty)
            }
        } catch let error as MailchimpError where error.advice != .retry && error.advice != .waitForAccount {
            return true
        }
    }

    private func recordNo(_ state: MemberState, _ link: Link, on connection: Connection) async throws {
        try await connection.query(
            """
            select koppeling.open_suppression(\(link.targetGroupID)::bigint, 'unsubscribed', \(state.address)::text,
                \(state.contactID)::text, koppeling.claimants(\(state.id)::bigint), 'mailchimp', koppeling.now(),
                '{"found": "activity"}')
            """)
        try await connection.query("select koppeling.record_nothing(\(state.id)::bigint, 'unsubscribed')")
    }
}
