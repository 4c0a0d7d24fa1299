import JobQueue
import Mailchimp
import Postgres

/// The person file's address changed: the same contact gets the new one, or the claim goes to who is there already.
extension ConnectorInstance {
    /// Gives the contact its new address.
    ///
    /// Mailchimp refuses when somebody stands there already, also an archived one.
    func move(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        guard let address = state.wantedAddress else { return .snooze(.seconds(5)) }
        let list = link.listID
        let reference = state.reference
        let patch = MemberPatch(emailAddress: address, mergeFields: try state.fields())
        do {
            let moved = try await call(link) {
                try await $0.update(list, reference, patch, skipMergeValidation: true)
            }
            return try await record(action, moved, as: .move, of: state, context)
        } catch let error as MailchimpError where error.code == .addressTaken || error.code == .memberExists {
            if let taken = try await call(link, { try await $0.member(list, .address(address)) }) {
                try await pool.transaction { connection in
                    try await connection.query(
                        """
                        select koppeling.observe_member(\(self.id)::bigint, \(try JSONText(encoding: taken))::jsonb, true)
                        """)
                }
            }
            return try await replace(state, action, link, context)
        }
    }

    /// Leaves the old address, archived where it is ours, and lets the claim go to the new one.
    func replace(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        let isArchived = try await archiveOld(state, link)
        return try await finish(action, context) { connection in
            if isArchived { try await connection.query("select koppeling.record_archived(\(state.id)::bigint)") }
            try await connection.query("select koppeling.replace_contact(\(state.id)::bigint)")
        }
    }

    /// Archives the contact at the old address if it is ours and subscribed, on a reading just made; says whether.
    private func archiveOld(_ state: MemberState, _ link: Link) async throws -> Bool {
        guard state.status == .subscribed, try await read(state, link) != nil,
            let found = try await MemberState.load(state.id, from: pool), found.status == .subscribed, found.isOurs
        else { return false }
        return try await archive(found, link) == nil
    }
}
