import JobQueue
import Logging
import Mailchimp
import Postgres

/// Having Mailchimp ask a contact who said no whether he wants mail again, because the person asked for that.
extension ConnectorInstance {
    /// Commits the intent; false when the request no longer holds.
    func beginInvitation(_ state: MemberState) async throws -> Bool {
        try await pool.transaction { connection in
            try await connection.query("select koppeling.begin_invitation(\(state.id)::bigint)").scalar()
        }
    }

    /// Makes the contact pending, which mails him; what Mailchimp refuses ends the invitation with the reason.
    func invite(
        _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        let list = link.listID
        do {
            let invited: Member
            if state.status == .unsubscribed || state.status == .archived {
                if let refusal = try await refusal(state, link) { return try await refuse(state, refusal) }
                let reference = state.reference
                invited = try await call(link) {
                    try await $0.update(list, reference, MemberPatch(status: .pending), skipMergeValidation: true)
                }
            } else {
                let member = NewMember(emailAddress: state.address, status: .pending)
                invited = try await call(link) { try await $0.create(list, member, skipMergeValidation: true) }
            }
            let answer = try JSONText(encoding: invited)
            return try await finish(action, context) { connection in
                try await connection.query("select koppeling.record_invited(\(state.id)::bigint, \(answer)::jsonb)")
            }
        } catch let error as MailchimpError {
            switch error.advice {
            case .suppress(.complianceState):
                return try await refuse(
                    state, "Mailchimp does not let this contact be asked: he can sign up through a form of Mailchimp's")
            case .suppress(.forgotten):
                let refused = try await refuse(
                    state, "the contact was deleted for good: he can sign up through a form of Mailchimp's")
                try await recordForgotten(state, error, link)
                return refused
            case .park, .alarm: return try await refuse(state, error.reason)
            default: throw error
            }
        }
    }

    /// What the contact's activity has against asking him: a complaint, or a no that came after the request.
    ///
    /// Activity that cannot be read may hide either.
    private func refusal(_ state: MemberState, _ link: Link) async throws -> String? {
        let nos = try await nos(state, link)
        if let complaint = nos.first(where: \.isComplaint) {
            try await pool.transaction { connection in
                try await self.recordNo(complaint, state, link, on: connection)
            }
            return "the contact reported a mailing as spam: nobody can invite him"
        }
        for no in nos {
            guard let said = no.at else { return "the contact's activity cannot be read: invite again later" }
            if let invitedAt = state.invitedAt, said > invitedAt {
                return "the contact said no again after the request: invite again only if the person asks again"
            }
        }
        return nil
    }

    private func refuse(_ state: MemberState, _ reason: String) async throws -> Outcome {
        logger.notice("an invitation is refused", metadata: ["member": "\(state.id)", "reason": "\(reason)"])
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.refuse_invitation(\(state.id)::bigint, \(reason)::text)")
        }
        return .rejected(reason: reason)
    }

    private func recordForgotten(_ state: MemberState, _ error: MailchimpError, _ link: Link) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.open_suppression(\(link.targetGroupID)::bigint, 'forgotten', \(state.address)::text,
                    \(state.contactID)::text, koppeling.claimants(\(state.id)::bigint), 'mailchimp',
                    koppeling.now(), jsonb_build_object('refusal', \(error.title)::text))
                """)
        }
    }
}
