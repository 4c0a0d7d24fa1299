/// Contacts through the control door: making them, looking at them, acting as them and as an admin.
extension World {
    func contactsDoor(_ call: Call, _ audience: Audience) throws(Problem) -> JSON {
        let parts = call.segments
        switch (call.method, parts[2], parts.count) {
        case ("POST", "contacts", 3): return try addContacts(try call.object(), audience)
        case ("POST", "acts", 3): return try actOnMany(try call.object(), audience)
        case ("POST", "events", 3): return try sendEvent(try call.object(), audience)
        case ("GET", "members", 3): return try inspect(call, audience)
        case ("GET", "members", 4):
            guard let member = audience.member(at: try controlledSlot(parts[3], audience)) else { throw .notFound }
            return MemberInspection(audience).json(member)
        case ("POST", "members", 6):
            guard let party = Party(rawValue: parts[4]), party != .api else { throw .notFound }
            return try act(parts[5], as: party, on: parts[3], try call.object(), audience)
        default: throw .notFound
        }
    }

    private func controlledSlot(_ reference: String, _ audience: Audience) throws(Problem) -> Int {
        guard let slot = audience.slot(reference: reference) else {
            throw Problem(404, "Not Found", "The list has no contact \(reference).")
        }
        return slot
    }

    /// Adds contacts as an admin who imports them or, for `"by": "contact"`, as if they had signed up themselves.
    private func addContacts(_ body: JSONObject, _ audience: Audience) throws(Problem) -> JSON {
        let party: Party = body["by"]?.string == "contact" ? .contact : .admin
        var context = WriteContext(party: party, skipsRequired: true)
        context.firesWebhooks = body["silent"]?.bool != true
        var contacts = body["contacts"]?.array ?? []
        if let count = body["generate"]?.integer {
            contacts += Self.generated(count, body["prefix"]?.string ?? "contact")
        }
        if contacts.isEmpty { contacts = [.object(body)] }
        var slots: [Int] = []
        var errors: [JSON] = []
        for contact in contacts {
            do throws(Problem) {
                slots.append(try addContact(contact.object ?? JSONObject(), audience, context))
            } catch {
                errors.append(["email_address": contact["email_address"] ?? .null, "error": .string(error.detail)])
            }
        }
        let inspection = MemberInspection(audience)
        return [
            "added": .integer(slots.count), "errors": .array(errors),
            "members": .list(slots.prefix(100).compactMap { audience.member(at: $0).map { inspection.json($0) } }),
        ]
    }

    private static func generated(_ count: Int, _ prefix: String) -> [JSON] {
        (1...max(1, min(count, 1_000_000))).map { number in
            [
                "email_address": .string("\(prefix)\(number)@people.test"),
                "merge_fields": ["FNAME": .string("First\(number)"), "LNAME": .string("Last\(number)")],
            ]
        }
    }

    private func addContact(_ body: JSONObject, _ audience: Audience, _ context: WriteContext) throws(Problem) -> Int {
        let input = try MemberInput(body)
        guard let address = input.address else { throw Self.wrong("A contact needs an email_address.") }
        let status = input.status ?? .subscribed
        guard let slot = audience.slot(hash: HexID(address: address)) else {
            return try insert(input, status, into: audience, context)
        }
        var known = input
        known.address = nil
        try change(slot, known, to: status, in: audience, context)
        return slot
    }

    private func actOnMany(_ body: JSONObject, _ audience: Audience) throws(Problem) -> JSON {
        guard let act = body["act"]?.string, let members = body["members"]?.array,
            let party = Party(rawValue: body["by"]?.string ?? "contact"), party != .api
        else { throw Self.wrong("Give act, by (contact or admin) and members.") }
        var done = 0
        var errors: [JSON] = []
        for member in members {
            do throws(Problem) {
                _ = try self.act(act, as: party, on: member.string ?? "", body, audience)
                done += 1
            } catch {
                errors.append(["member": member, "error": .string(error.detail)])
            }
        }
        return ["done": .integer(done), "errors": .array(errors)]
    }

    private func act(
        _ act: String, as party: Party, on reference: String, _ body: JSONObject, _ audience: Audience
    ) throws(Problem) -> JSON {
        let context = WriteContext(party: party, skipsRequired: true)
        // Whoever signs up again may be gone from the list; everything else needs a contact.
        if party == .contact, act == "resubscribe", audience.slot(reference: reference) == nil {
            let address = body["email_address"]?.string ?? reference
            let slot = try insert(MemberInput(address: address), .subscribed, into: audience, context)
            return audience.member(at: slot).map { MemberInspection(audience).json($0) } ?? .null
        }
        let slot = try controlledSlot(reference, audience)
        switch (party, act) {
        case (_, "unsubscribe"), (.contact, "complain"):
            let complaint = act == "complain" || body["abuse"]?.bool == true
            try setStatus(
                .unsubscribed, slot, audience, context, reason: body["reason"]?.string,
                complaint: complaint && party == .contact)
        case (.contact, "resubscribe"), (.contact, "confirm"): try setStatus(.subscribed, slot, audience, context)
        case (.admin, "subscribe"): try setStatus(.subscribed, slot, audience, context)
        case (.admin, "archive"): try setStatus(.archived, slot, audience, context)
        case (.admin, "unarchive"): try unarchive(slot, audience, context)
        case (.admin, "clean"):
            try setStatus(.cleaned, slot, audience, context, complaint: body["abuse"]?.bool == true)
        case (.admin, "delete"):
            forget(slot, audience, context)
            return ["deleted": .string(reference)]
        case (_, "change-address"):
            guard let address = body["email_address"]?.string else { throw Self.wrong("Give the new email_address.") }
            try change(slot, MemberInput(address: address), to: nil, in: audience, context)
        case (_, "profile"):
            try change(
                slot, MemberInput(merge: body["merge_fields"]?.object ?? JSONObject()), to: nil, in: audience, context)
        default: throw Self.wrong("There is no act \(act) of a \(party.rawValue).")
        }
        return audience.member(at: slot).map { MemberInspection(audience).json($0) } ?? .null
    }

    private func unarchive(_ slot: Int, _ audience: Audience, _ context: WriteContext) throws(Problem) {
        guard let consent = audience.member(at: slot)?.consent, let beneath = consent.beneath else {
            throw Self.wrong("The contact is not archived.")
        }
        try setStatus(beneath, slot, audience, context, reason: consent.unsubscribeReason)
    }
}
