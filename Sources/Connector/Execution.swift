import FoundationEssentials
import IO
import JobQueue
import Mailchimp
import Postgres

/// One action, from what is wanted and known now to the record of what was done.
///
/// The order is always the same: decide, commit the intent, call, record. A process that dies anywhere leaves at most
/// an intent, and whoever comes next reads the contact before deciding again.
extension ConnectorInstance {
    /// How often a decision may be overtaken by new facts before the job is put back.
    private static var patience: Int { 6 }

    /// Carries out one action.
    ///
    /// - Returns: nil when the job was completed together with its record, else what becomes of it.
    /// - Throws: `MailchimpError` when Mailchimp refused or could not be reached.
    func execute(_ action: Action, _ link: Link, _ context: JobContext) async throws -> Outcome? {
        var seen: Member?
        var isFresh = false
        for _ in 0..<Self.patience {
            guard let state = try await MemberState.load(action.member, from: pool) else {
                return .cancelled(reason: "the contact was merged")
            }
            let step = state.step(fresh: isFresh)
            switch step {
            case .nothing(let note):
                return try await finish(action, context) { connection in
                    try await connection.execute(
                        "select koppeling.record_nothing(\(state.id)::bigint, \(note)::text)")
                }
            case .forget: return try await forget(state, action, link, context)
            case .removedInMailchimp:
                return try await finish(action, context) { connection in
                    try await self.recordRemoved(state, link, on: connection)
                }
            case .read:
                seen = try await read(state, link)
                isFresh = true
            case .verify:
                guard let contact = seen else {
                    isFresh = false
                    continue
                }
                // A no that is found makes unsubscribing the next step.
                if try await findNo(state, contact, link) { continue }
                if state.status == .archived {
                    try await pool.query("select koppeling.record_nothing(\(state.id)::bigint, null)")
                    continue
                }
                return try await record(action, contact, as: step, of: state, context)
            case .update, .adopt:
                // A call whose answer was lost has done the work already.
                if isFresh, let seen, state.fieldsAreApplied(by: seen) {
                    return try await record(action, seen, as: step, of: state, context)
                }
                fallthrough
            case .create, .move, .archive, .unsubscribe, .unarchive, .replace, .invite, .erase:
                if step.isHeldByPause, link.pausedReason != nil { return .snooze(.seconds(60)) }
                let performed = try await permitted(link) { () async throws -> Performed? in
                    guard try await begin(step, state) else { return nil }
                    return try await perform(step, state, action, link, context)
                }
                switch performed {
                case nil: isFresh = false
                case .finished(let outcome): return outcome
                case .seen(let contact):
                    seen = contact
                    isFresh = true
                }
            }
        }
        return .snooze(.seconds(5))
    }

    /// Commits the intent; false when what the step was decided on has changed.
    private func begin(_ step: Step, _ state: MemberState) async throws -> Bool {
        guard let intent = step.intent else { return true }
        if step == .invite { return try await beginInvitation(state) }
        let rows = try await pool.query(
            """
            select koppeling.begin_call(\(state.id)::bigint, \(intent.rawValue)::text,
                \(state.wantedFields)::jsonb, \(state.wantedKey)::text) as begun
            """)
        return try rows.first?.decode("begun", as: Bool?.self) ?? false
    }

    /// What came of a step.
    enum Performed {
        case finished(Outcome?)
        /// The contact was found so, or absent, which decides what comes next: he is subscribed and perhaps was there
        /// before, when it is not said that he may be; or he is in a state that cannot be archived.
        case seen(Member?)
    }

    private func perform(
        _ step: Step, _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Performed {
        switch step {
        case .create:
            let member = try state.newMember(status: .subscribed)
            let list = link.listID
            let created = try await call(link) { try await $0.create(list, member, skipMergeValidation: true) }
            if state.isNew(created) {
                return .finished(try await record(action, created, as: step, of: state, context))
            }
            try await store(created)
            return .seen(created)
        case .unarchive: return try await unarchive(state, action, link, context)
        case .archive:
            if let refused = try await archive(state, link) { return refused }
            return .finished(
                try await finish(action, context) { connection in
                    try await connection.execute("select koppeling.record_archived(\(state.id)::bigint)")
                })
        default: return .finished(try await performPlainly(step, state, action, link, context))
        }
    }

    /// The steps that can make nobody subscribed who was not.
    private func performPlainly(
        _ step: Step, _ state: MemberState, _ action: Action, _ link: Link, _ context: JobContext
    ) async throws -> Outcome? {
        let list = link.listID
        let reference = state.reference
        switch step {
        case .adopt, .update:
            let patch = MemberPatch(mergeFields: try state.fields())
            let updated = try await call(link) {
                try await $0.update(list, reference, patch, skipMergeValidation: true)
            }
            return try await record(action, updated, as: step, of: state, context)
        case .move:
            return try await move(state, action, link, context)
        case .replace:
            return try await replace(state, action, link, context)
        case .unsubscribe:
            let patch = MemberPatch(status: .unsubscribed)
            let left = try await call(link) {
                try await $0.update(list, reference, patch, skipMergeValidation: true)
            }
            return try await record(action, left, as: step, of: state, context)
        case .invite: return try await invite(state, action, link, context)
        case .erase: return try await erase(state, action, link, context)
        case .nothing, .read, .verify, .create, .unarchive, .archive, .removedInMailchimp, .forget:
            return nil
        }
    }

    /// Archives a contact that was just read as subscribed.
    ///
    /// - Returns: nil when it is archived, else what it is instead: a refusal is judged by what Mailchimp shows now.
    func archive(_ state: MemberState, _ link: Link) async throws -> Performed? {
        let list = link.listID
        let reference = state.reference
        do {
            try await call(link) { try await $0.archive(list, reference) }
            return nil
        } catch let error as MailchimpError where error.code == .methodNotAllowed {
            let seen = try await read(state, link)
            switch seen?.status {
            case .archived: return nil
            // Refused for no reason that shows: asking again would go on for ever.
            case .subscribed: throw error
            default: return .seen(seen)
            }
        }
    }

    /// Reads the contact and stores what Mailchimp says; absent when neither its id nor its address is known there.
    @discardableResult
    func read(_ state: MemberState, _ link: Link) async throws -> Member? {
        let list = link.listID
        var found: Member?
        if let contact = state.contactID {
            found = try await call(link) { try await $0.member(list, .contactID(contact)) }
        }
        if found == nil {
            let address = state.address
            found = try await call(link) { try await $0.member(list, .address(address)) }
            if let there = found?.contactID, let known = state.contactID, there != known {
                try await pool.transaction { connection in
                    try await connection.query("select koppeling.leave_to_address(\(state.id)::bigint)")
                }
            }
        }
        if let found {
            try await store(found)
        } else {
            try await pool.transaction { connection in
                try await connection.query("select koppeling.record_absent(\(state.id)::bigint)")
            }
        }
        return found
    }

    /// Stores what Mailchimp says of a contact now.
    func store(_ member: Member) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.observe_member(\(self.id)::bigint, \(try JSONText(encoding: member))::jsonb, true)")
        }
    }

    /// Records what a call answered and completes its job, in one transaction.
    func record(
        _ action: Action, _ answer: Member, as step: Step, of state: MemberState, _ context: JobContext
    ) async throws -> Outcome? {
        let ownership: String? =
            switch step {
            case .create, .verify: "created"
            case .adopt: "adopted"
            default: nil
            }
        let hasFields = step == .verify ? state.fieldsAreApplied(by: answer) : step != .unsubscribe
        let fields = hasFields ? state.wantedFields : nil
        let answer = try JSONText(encoding: answer)
        return try await finish(action, context) { connection in
            try await connection.query(
                """
                select koppeling.record_call(\(action.member)::bigint, \(ownership)::text, \(fields)::jsonb,
                    \(answer)::jsonb)
                """)
        }
    }

    /// Writes the record and the completion of the job together.
    ///
    /// The record stands even when the job was taken away
    /// meanwhile: what happened at Mailchimp happened.
    func finish(
        _ action: Action, _ context: JobContext, _ write: (Connection) async throws -> Void
    ) async throws -> Outcome? {
        try await pool.transaction { connection in
            try await write(connection)
            _ = try await context.complete([action.job.id: .done(nil)], on: connection)
        }
        return nil
    }

    private func recordRemoved(_ state: MemberState, _ link: Link, on connection: Connection) async throws {
        try await connection.query(
            """
            select koppeling.open_suppression(\(link.targetGroupID)::bigint, 'removedInMailchimp',
                \(state.address)::text, \(state.contactID)::text, koppeling.claimants(\(state.id)::bigint),
                'mailchimp', koppeling.now(), '{}')
            """)
        try await connection.query("select koppeling.record_nothing(\(state.id)::bigint, 'removedInMailchimp')")
    }
}

extension Step {
    /// Whether a pause holds it back although its action had to be looked at.
    var isHeldByPause: Bool {
        switch self {
        case .create, .unarchive, .update, .adopt, .move, .invite: true
        case .nothing, .read, .verify, .archive, .replace, .unsubscribe, .erase, .forget, .removedInMailchimp: false
        }
    }

    /// What is committed before the step's call.
    var intent: MemberState.Intent? {
        switch self {
        case .create, .unarchive: .creating
        case .adopt, .update: .updating
        case .move: .moving
        case .archive, .replace: .archiving
        case .unsubscribe: .unsubscribing
        case .invite: .inviting
        case .erase: .erasing
        case .nothing, .read, .verify, .forget, .removedInMailchimp: nil
        }
    }
}

extension MemberState {
    /// How Mailchimp is asked for this contact: its id outlives a change of address.
    var reference: MemberReference { contactID.map { .contactID($0) } ?? .address(address) }

    /// The wanted merge fields.
    func fields() throws -> [String: MergeValue] {
        try (wantedFields ?? "{}").decode([String: String].self).mapValues { .text($0) }
    }

    /// The wanted contact as a new member.
    func newMember(status: MemberStatus) throws -> NewMember {
        NewMember(emailAddress: wantedAddress ?? address, status: status, mergeFields: try fields())
    }

    /// Whether the contact as read has every wanted field already, at the address it stands for.
    func fieldsAreApplied(by member: Member) -> Bool {
        guard member.status == .subscribed, let wanted = try? fields() else { return false }
        return wanted.allSatisfy { tag, value in member.mergeFields[tag] == value }
    }
}
