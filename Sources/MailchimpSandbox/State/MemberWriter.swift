/// Who writes a member, and how.
struct WriteContext: Sendable {
    var party: Party
    var remoteIP = ""
    /// Whether required merge fields may stay empty.
    var skipsRequired = false
    var firesWebhooks = true
    /// The call, for the audit.
    var request = ""
}

/// Writing members: the one way in which the API, bulk calls and the control door make and change them.
extension World {
    /// Makes a contact at an address that the list does not have.
    func insert(_ input: MemberInput, _ status: MemberStatus, into audience: Audience, _ context: WriteContext)
        throws(Problem) -> Int
    {
        let address = input.address ?? ""
        try check(address, context)
        let hash = HexID(address: address)
        if let forgotten = audience.forgotten[hash], context.party == .api {
            noteAttempt(
                audience, address, forgotten.ownNo?.at ?? forgotten.at, "forgotten", status, carriedOut: false, context)
            throw .refused(.forgotten, address, hasType: !switches.stateErrorsLackType)
        }
        let now = now()
        var member = Member(
            hash: hash, address: address, contactID: HexID(random: &generator), webID: newWebID(),
            consent: Consent(status, by: context.party), lastChanged: now)
        try fill(&member, from: input, audience, context, isNew: true)
        if status == .subscribed { optIn(&member, input, context, at: now) }
        if context.party != .api { member.source = context.party == .admin ? "Import" : "Hosted Signup Form" }
        if context.party == .contact {
            member.timestampSignup = now
            member.ipSignup = context.remoteIP
        }
        record(&member, "created \(status.rawValue)", context, at: now)
        if context.party == .api { member.writes = WriteCounts(all: 1, subscribing: status == .subscribed ? 1 : 0) }
        let slot = audience.insert(member)
        noteConsent(of: member, was: nil, in: audience, context)
        set(input.tags ?? [], replaces: false, slot, audience, context)
        fire(.status(from: nil, to: status), member, audience, context)
        return slot
    }

    /// Changes a contact; returns whether anything became different.
    @discardableResult
    func change(
        _ slot: Int, _ input: MemberInput, to wanted: MemberStatus?, in audience: Audience, _ context: WriteContext
    )
        throws(Problem) -> Bool
    {
        guard let former = audience.member(at: slot) else { throw .notFound }
        var member = former
        let now = now()
        let isStatusChange = try decide(former, wanted, audience, context)
        try move(&member, to: input.address, audience, context)
        try fill(&member, from: input, audience, context, isNew: false)
        if isStatusChange, let wanted {
            member.consent.set(wanted, by: context.party)
            if wanted == .subscribed { optIn(&member, input, context, at: now) }
        }
        let isMove = member.hash != former.hash
        let isEdit = member.merge != former.merge || member.agreements != former.agreements
        let isRetagged = input.tags.map { audience.differs(member, from: $0, exactly: input.replacesTags) } ?? false
        let isSame =
            !isStatusChange && !isEdit && !isRetagged && member.address == former.address
            && member.language == former.language
            && member.isVIP == former.isVIP && member.emailType == former.emailType
        if context.party == .api {
            member.writes.all += 1
            if isSame { member.writes.unchanged += 1 }
            if isStatusChange, wanted == .subscribed { member.writes.subscribing += 1 }
        }
        if !isSame {
            member.lastChanged = now
            if isStatusChange, let wanted {
                record(&member, "\(former.status.rawValue) to \(wanted.rawValue)", context, at: now)
            }
            if isMove { record(&member, "address \(former.address) to \(member.address)", context, at: now) }
            if isEdit { record(&member, Self.edits(former, member, audience), context, at: now) }
        }
        audience.replace(slot, with: member)
        if isStatusChange { noteConsent(of: member, was: former.status, in: audience, context) }
        if isRetagged { set(input.tags ?? [], replaces: input.replacesTags, slot, audience, context) }
        if isStatusChange, let wanted { fire(.status(from: former.status, to: wanted), member, audience, context) }
        if isMove {
            fire(.address(former.address), member, audience, context)
        } else if isEdit {
            fire(.profile, member, audience, context)
        }
        return !isSame
    }

    /// Which fields became different, by their tags.
    private static func edits(_ former: Member, _ member: Member, _ audience: Audience) -> String {
        func value(_ member: Member, _ index: Int) -> JSON { index < member.merge.count ? member.merge[index] : "" }
        var names = audience.mergeFields.enumerated()
            .filter { value(former, $0.offset) != value(member, $0.offset) }.map(\.element.tag)
        if former.agreements.interests != member.agreements.interests { names.append("interests") }
        if former.agreements.permissions != member.agreements.permissions { names.append("permissions") }
        return "changed " + names.joined(separator: ", ")
    }

    func record(_ member: inout Member, _ what: String, _ context: WriteContext, at now: Int) {
        guard configuration.historyKept > 0 else { return }
        if member.history.count >= configuration.historyKept { member.history.removeFirst() }
        member.history.append(HistoryEntry(at: now, party: context.party, what: what))
    }

    /// Asks the status machine, and counts for the audit what it says about a contact with a no of his own.
    private func decide(_ member: Member, _ wanted: MemberStatus?, _ audience: Audience, _ context: WriteContext)
        throws(Problem) -> Bool
    {
        guard let wanted else { return false }
        guard context.party == .api else { return member.status != wanted }
        let verdict = StatusMachine(switches: switches).verdict(from: member.consent, to: wanted)
        if let no = member.consent.ownNo, verdict != .unchanged {
            noteAttempt(
                audience, member.address, no.at, no.kind.rawValue, wanted, carriedOut: verdict == .changed, context)
        }
        switch verdict {
        case .unchanged: return false
        case .changed: return true
        case .refused(let refusal): throw .refused(refusal, member.address, hasType: !switches.stateErrorsLackType)
        }
    }

    private func check(_ address: String, _ context: WriteContext) throws(Problem) {
        if let fault = EmailAddress.fault(address, refusesFakes: switches.refusesFakeAddresses && context.party == .api)
        {
            throw .invalid(fault)
        }
        if context.party == .api, throttledAddresses.contains(HexID(address: address)) {
            throw .signedUpTooOften(address)
        }
    }

    /// Gives a contact another address; everything but what the address names stays.
    private func move(_ member: inout Member, to address: String?, _ audience: Audience, _ context: WriteContext)
        throws(Problem)
    {
        guard let address, address != member.address else { return }
        try check(address, context)
        let hash = HexID(address: address)
        guard hash != member.hash else {
            member.address = address
            return
        }
        guard member.status == .subscribed else {
            let only = "You can only update email addresses for members with a status of \"subscribed.\""
            throw .invalid([("email address", "This member's status is \"\(member.status.rawValue).\" \(only)")])
        }
        if let other = audience.slot(hash: hash).flatMap({ audience.member(at: $0) }) {
            throw .invalid([
                ("email address", "\"\(address)\" is already in this list with a status of \"\(other.status.title)\".")
            ])
        }
        if let forgotten = audience.forgotten[hash], context.party == .api {
            noteAttempt(audience, address, forgotten.at, "forgotten", .subscribed, carriedOut: false, context)
            throw .refused(.forgotten, address, hasType: !switches.stateErrorsLackType)
        }
        member.address = address
        member.hash = hash
    }

    /// Takes over the fields that the caller named; nothing is written when one of them is wrong.
    private func fill(
        _ member: inout Member, from input: MemberInput, _ audience: Audience, _ context: WriteContext, isNew: Bool
    ) throws(Problem) {
        if let emailType = input.emailType { member.emailType = emailType }
        if let language = input.language { member.language = language }
        if let isVIP = input.isVIP { member.isVIP = isVIP }
        if let ip = input.ipSignup { member.ipSignup = ip }
        if let time = input.timestampSignup { member.timestampSignup = time }
        member.agreements = try agreements(member, input, audience)
        guard isNew || input.merge != nil else { return }
        let fields = audience.mergeFields
        var values = member.merge
        values.append(contentsOf: repeatElement("", count: max(0, fields.count - values.count)))
        var faults: [(field: String, message: String)] = []
        var misshapen: [(field: String, message: String)] = []
        for (index, field) in fields.enumerated() {
            if let given = input.merge?[field.tag] {
                switch field.normalised(given, checksPhones: switches.checksPhones) {
                case .success(let value): values[index] = value
                case .failure(let fault) where fault.isOfShape:
                    misshapen.append(("merge_fields.item:\(field.tag)", fault.message))
                case .failure(let fault): faults.append((field.tag, fault.message))
                }
            } else if isNew, case .success(let value) = field.normalised(.string(field.defaultValue)) {
                values[index] = value
            }
            if field.isRequired, !context.skipsRequired, values[index] == "",
                !faults.contains(where: { $0.field == field.tag })
            {
                faults.append((field.tag, "Please enter a value"))
            }
        }
        if !misshapen.isEmpty { throw .invalid(misshapen) }
        if !faults.isEmpty { throw .invalidMerge(faults) }
        member.merge = values
    }

    /// What a member agrees to once the caller's choices are laid over his own.
    private func agreements(_ member: Member, _ input: MemberInput, _ audience: Audience) throws(Problem) -> Agreements
    {
        var agreements = member.agreements
        for (id, isOn) in input.interests {
            guard audience.choices.interests.contains(where: { $0.id == id }) else {
                if switches.refusesUnknownChoices { throw .invalid("Invalid interest ID: '\(id)'.") }
                continue
            }
            if isOn { agreements.interests.insert(id) } else { agreements.interests.remove(id) }
        }
        for (id, isOn) in input.permissions {
            guard audience.choices.permissions.contains(where: { $0.id == id }) else {
                if switches.refusesUnknownChoices { throw .invalid("Invalid marketing permission ID: '\(id)'.") }
                continue
            }
            if isOn { agreements.permissions.insert(id) } else { agreements.permissions.remove(id) }
        }
        return agreements
    }

    private func optIn(_ member: inout Member, _ input: MemberInput, _ context: WriteContext, at now: Int) {
        member.timestampOpt = input.timestampOpt ?? now
        member.ipOpt = input.ipOpt ?? context.remoteIP
    }
}
