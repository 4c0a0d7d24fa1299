import JobQueue
import Mailchimp
import Postgres

/// Deleting the contact of an erased person for good.
extension ConnectorInstance {
    /// Deletes the contact; it is looked for once more some time later, before it is forgotten here.
    func erase(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        guard let hash = state.remoteID else { return .snooze(.seconds(5)) }
        let list = link.listID
        try await call(link) { try await $0.deletePermanently(list, hash: hash) }
        return try await finish(action, context) { connection in
            try await connection.query("select koppeling.record_deleted(\(state.id)::bigint)")
        }
    }

    /// Forgets a contact that is not in the list, and says whether there is still a list.
    func forget(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        let list = link.listID
        var outcome = "absent"
        do {
            _ = try await call(link) { try await $0.list(list) }
        } catch let error as MailchimpError where error.code == .notFound {
            outcome = "listGone"
        }
        let found = outcome
        return try await finish(action, context) { connection in
            try await connection.query("select koppeling.record_erased(\(state.id)::bigint, \(found)::text)")
        }
    }
}
