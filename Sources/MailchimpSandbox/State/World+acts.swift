/// Changes of status that no rule of the API stands before: archiving, forgetting, and what contacts and admins do.
extension World {
    /// Sets a status as it is; whoever calls has decided that it may be.
    func setStatus(
        _ status: MemberStatus, _ slot: Int, _ audience: Audience, _ context: WriteContext, reason: String? = nil,
        complaint: Bool = false
    ) throws(Problem) {
        guard var member = audience.member(at: slot) else { throw .notFound }
        let former = member.status
        let now = now()
        if context.party == .contact, status == .unsubscribed {
            member.consent.ownNo = OwnNo(kind: complaint ? .complained : .unsubscribed, at: now)
            if complaint { member.activity.append(ActivityEntry(at: now, action: "abuse")) }
            member.activity.append(ActivityEntry(at: now, action: "unsub"))
        } else if status == .unsubscribed, former != .unsubscribed {
            member.activity.append(ActivityEntry(at: now, action: "unsub"))
        } else if status == .cleaned {
            member.activity.append(ActivityEntry(at: now, action: "bounce"))
        }
        if context.party == .contact, status == .unsubscribed {
            audit.consent.sayNo(
                member.contactID, member.hash, complaint ? "complained" : "unsubscribed", in: audience.id, at: now)
        }
        guard former != status || context.party == .contact else { return }
        let staysArchived = former == .archived && status == .unsubscribed && switches.archivedUnsubscribeIsHidden
        if staysArchived {
            member.consent.beneath = .unsubscribed
        } else {
            member.consent.set(status, by: context.party, reason: reason)
        }
        if status == .subscribed, context.party == .contact {
            member.timestampOpt = now
            member.ipOpt = context.remoteIP
        }
        member.lastChanged = now
        record(&member, "\(former.rawValue) to \(status.rawValue)\(complaint ? " (complaint)" : "")", context, at: now)
        audience.replace(slot, with: member)
        noteConsent(of: member, was: former, in: audience, context)
        guard former != member.status || staysArchived else { return }
        fire(.status(from: former, to: status, complaint: complaint), member, audience, context)
    }

    /// Deletes a contact for good; only he himself can bring the address back.
    func forget(_ slot: Int, _ audience: Audience, _ context: WriteContext) {
        guard let member = audience.member(at: slot) else { return }
        audience.remove(slot)
        audit.consent.vanish(member.contactID, member.hash, in: audience.id, at: now())
        audience.forgotten[member.hash] = Audience.Forgotten(at: now(), ownNo: member.consent.ownNo)
        if member.status != .archived { fire(.status(from: member.status, to: .archived), member, audience, context) }
    }
}
