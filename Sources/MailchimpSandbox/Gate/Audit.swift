/// What the sandbox watches over: consent, and how many calls were in flight.
struct Audit: Sendable {
    /// A call that wanted a contact subscribed, or asked again, after he had said no.
    struct Attempt: Sendable {
        let at: Int
        let noAt: Int
        let no: String
        let list: String
        let address: String
        let wanted: MemberStatus
        let wasCarriedOut: Bool
        let request: String
    }

    /// Calls that were carried out and made such a contact subscribed: what must never happen.
    var carriedOut = 0
    /// Calls that would have and were refused.
    var refused = 0
    /// Calls that made such a contact pending, so that he was asked again.
    var askedAgain = 0
    /// The attempts, as far as they are kept.
    var attempts = Ring<Attempt>(capacity: 1000)
    var inFlight: [String: Int] = [:]
    var mostInFlight: [String: Int] = [:]
    var consent = ConsentAudit()

    mutating func begin(_ account: String) -> Int {
        let count = inFlight[account, default: 0] + 1
        inFlight[account] = count
        mostInFlight[account] = max(mostInFlight[account, default: 0], count)
        return count
    }

    mutating func end(_ account: String) { inFlight[account, default: 1] -= 1 }

    /// Starts counting anew; calls that are in flight stay so.
    mutating func reset() {
        carriedOut = 0
        refused = 0
        askedAgain = 0
        attempts.removeAll()
        mostInFlight = inFlight
        consent.reset()
    }
}

extension World {
    /// Counts a call that wants to subscribe somebody who had said no himself.
    func noteAttempt(
        _ audience: Audience, _ address: String, _ noAt: Int, _ no: String, _ wanted: MemberStatus, carriedOut: Bool,
        _ context: WriteContext
    ) {
        guard wanted == .subscribed || wanted == .pending else { return }
        if wanted == .pending {
            if carriedOut { audit.askedAgain += 1 }
        } else if carriedOut {
            audit.carriedOut += 1
        } else {
            audit.refused += 1
        }
        audit.attempts.append(
            Audit.Attempt(
                at: now(), noAt: noAt, no: no, list: audience.id, address: address, wanted: wanted,
                wasCarriedOut: carriedOut, request: context.request))
    }

    /// Tells the audit of consent what became of a contact; `former` is nil for one that is new.
    func noteConsent(of member: Member, was former: MemberStatus?, in audience: Audience, _ context: WriteContext) {
        let second = now()
        if former == nil { audit.consent.appear(member.contactID, in: audience.id, at: second) }
        switch (member.status, context.party) {
        case (.subscribed, .contact):
            audit.consent.sayYes(member.contactID, member.hash, in: audience.id, at: second)
        case (.subscribed, .api):
            audit.consent.subscribe(
                member.contactID, member.hash, member.address, in: audience.id, request: context.request, at: second)
        case (.unsubscribed, _), (.cleaned, _): audit.consent.settle(member.contactID, at: second)
        default: break
        }
    }
}
