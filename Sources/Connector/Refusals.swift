import FoundationEssentials
import JobQueue
import Logging
import Mailchimp
import Postgres

/// What becomes of an action that Mailchimp refused.
extension ConnectorInstance {
    /// Turns a refusal into an outcome, after whatever it means has been stored.
    func resolve(_ error: MailchimpError, of action: Action, _ link: Link) async throws -> Outcome {
        if error.isCancellation { throw CancellationError() }
        switch error.advice {
        case .retry:
            return .retry(after: nil, error: "\(error)")
        case .lookAgain:
            // The contact is not where we thought: the intent that stays makes the next attempt read first.
            return .retry(after: .seconds(1), error: "\(error)")
        case .waitForAccount where error.code == .contactLimit:
            try await pause(because: "\(error)")
            return .snooze(.seconds(60))
        case .waitForAccount:
            try await credentialRefused(link)
            return .snooze(.seconds(60))
        case .stop:
            try await pause(because: "\(error)")
            return .snooze(.seconds(60))
        case .deferDays:
            return .snooze(.seconds(86_400 * action.job.daysToDefer))
        case .suppress:
            try await recordSuppression(error, of: action, link)
            return .done(nil)
        case .park:
            return try await park(error, action)
        case .alarm:
            logger.error("Mailchimp found the request itself wrong", metadata: ["error": "\(error)"])
            return try await park(error, action)
        }
    }

    private func park(_ error: MailchimpError, _ action: Action) async throws -> Outcome {
        logger.notice("an action is rejected", metadata: ["job": "\(action.job.id)", "error": "\(error)"])
        try await pool.execute("select koppeling.record_nothing(\(action.member)::bigint, \(error.reason)::text)")
        return .rejected(reason: error.reason)
    }

    /// Mailchimp says that the contact may not be subscribed: read which no it is, and keep it.
    private func recordSuppression(_ error: MailchimpError, of action: Action, _ link: Link) async throws {
        guard let state = try await MemberState.load(action.member, from: pool) else { return }
        let reason = error.code == .forgotten ? "forgotten" : "unsubscribed"
        // A bounced contact is refused in the same words as one who said no: the read tells them apart.
        if error.code == .complianceState, let seen = try await read(state, link),
            seen.status == .cleaned || seen.status == .unsubscribed
        {
            try await pool.execute(
                "select koppeling.record_nothing(\(state.id)::bigint, \(seen.status.description)::text)")
            return
        }
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.open_suppression(\(link.targetGroupID)::bigint, \(reason)::text,
                    \(state.address)::text, \(state.contactID)::text, koppeling.claimants(\(state.id)::bigint),
                    'mailchimp', koppeling.now(), jsonb_build_object('refusal', \(error.title)::text))
                """)
            try await connection.query("select koppeling.record_nothing(\(state.id)::bigint, \(reason)::text)")
        }
    }
}

extension Job {
    /// For how many days it is put off: one more each time, up to a week.
    ///
    /// How often it was put off counts only as far as it has waited so many days: a pause puts a job off every minute.
    var daysToDefer: Int {
        min(snoozes, Int(startedAt.timeIntervalSince(enqueuedAt) / 86_400), 6) + 1
    }
}
