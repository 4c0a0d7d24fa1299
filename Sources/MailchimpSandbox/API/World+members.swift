/// Calls on one member.
extension World {
    func member(_ reference: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        try answer(try slot(reference, in: audience), audience, links)
    }

    func create(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let input = try MemberInput(try call.object(), takesTags: true)
        try require(["email_address": input.address != nil, "status": input.status != nil])
        guard let address = input.address, let status = input.status else { throw .notFound }
        let context = context(call)
        guard let slot = audience.slot(hash: HexID(address: address)), let member = audience.member(at: slot) else {
            return try answer(try insert(input, status, into: audience, context), audience, links)
        }
        guard member.status == .archived else { throw exists(member, status, audience, context) }
        var revived = input
        revived.address = nil
        try change(slot, revived, to: status, in: audience, context)
        return try answer(slot, audience, links)
    }

    func upsert(_ call: Call, _ reference: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let input = try MemberInput(try call.object())
        let context = context(call)
        if let slot = audience.slot(reference: reference) {
            try change(slot, input, to: input.status, in: audience, context)
            return try answer(slot, audience, links)
        }
        let status = input.status ?? input.statusIfNew
        try require(["email_address": input.address != nil, "status_if_new": status != nil])
        guard let address = input.address, let status else { throw .notFound }
        if let slot = audience.slot(hash: HexID(address: address)), let member = audience.member(at: slot) {
            throw exists(member, status, audience, context)
        }
        return try answer(try insert(input, status, into: audience, context), audience, links)
    }

    func update(_ call: Call, _ reference: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let slot = try slot(reference, in: audience)
        let input = try MemberInput(try call.object())
        if input.status == .transactional {
            let accepted = "subscribed, unsubscribed, cleaned, pending"
            throw .invalid([("status", "Data presented is not one of the accepted values: \(accepted).")])
        }
        try change(slot, input, to: input.status, in: audience, context(call))
        return try answer(slot, audience, links)
    }

    func archive(_ reference: String, _ audience: Audience) throws(Problem) -> Answer {
        let slot = try slot(reference, in: audience)
        guard let member = audience.member(at: slot), StatusMachine(switches: switches).canArchive(member.status) else {
            throw .notArchivable
        }
        try setStatus(.archived, slot, audience, WriteContext(party: .api))
        return .noContent
    }

    func deletePermanently(_ reference: String, _ audience: Audience) throws(Problem) -> Answer {
        forget(try slot(reference, in: audience), audience, WriteContext(party: .api))
        return .noContent
    }

    func activity(_ call: Call, _ reference: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let member = audience.member(at: try slot(reference, in: audience)) else { throw .notFound }
        let wanted = call.query["action"].map { Set($0.split(separator: ",").map { String($0.trimming) }) }
        let known = ["abuse", "bounce", "click", "open", "sent", "unsub", "ecomm"]
        guard wanted?.isSubset(of: known) ?? true else { throw .notAmong("action", known) }
        let entries = member.activity.reversed().filter { wanted?.contains($0.action) ?? true }.prefix(50)
        let path = "/lists/\(audience.id)/members/\(member.hash.hex)"
        let body: JSON = [
            "activity": .list(
                entries.map { ["action": .string($0.action), "timestamp": .string(Timestamp.text($0.at))] }),
            "email_id": .string(member.hash.hex), "contact_id": .string(member.contactID.hex),
            "list_id": .string(audience.id), "total_items": .integer(entries.count),
            "_links": [links.link("self", "\(path)/activity"), links.link("parent", path)],
        ]
        return .ok(body, schema: "Lists/Members/Activity/Collection")
    }

    func context(_ call: Call) -> WriteContext {
        WriteContext(
            party: .api, remoteIP: call.remoteIP, skipsRequired: call.query.flag("skip_merge_validation"),
            request: call.requestID)
    }

    private func answer(_ slot: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let member = audience.member(at: slot) else { throw .notFound }
        var answer = Answer.ok(
            MemberRendering(audience, links: links).json(member), schema: "Lists/Members/Instance", members: 1)
        answer.dashboard = "\(links.admin)/lists/members/view?id=\(member.webID)"
        return answer
    }

    private func exists(_ member: Member, _ status: MemberStatus, _ audience: Audience, _ context: WriteContext)
        -> Problem
    {
        if let no = member.consent.ownNo {
            noteAttempt(audience, member.address, no.at, no.kind.rawValue, status, carriedOut: false, context)
        }
        return .memberExists(member.address, hasType: !switches.stateErrorsLackType)
    }

    private func require(_ fields: KeyValuePairs<String, Bool>) throws(Problem) {
        let missing = fields.filter { !$0.value }.map(\.key)
        guard missing.isEmpty else { throw .missing(missing) }
    }
}
