/// `POST /lists/{id}`: up to 500 members in one call, each with a result of its own.
extension World {
    static let bulkLimit = 500

    func bulk(_ call: Call, _ audience: Audience, _ links: Links, _ selection: FieldSelection) throws(Problem) -> Answer
    {
        let body = try call.object()
        guard let members = body["members"]?.array else {
            throw .missing(["members"])
        }
        guard members.count <= Self.bulkLimit else {
            throw .invalid([("members", "This collection should contain \(Self.bulkLimit) elements or less.")])
        }
        var inputs: [MemberInput] = []
        for (index, member) in members.enumerated() {
            guard case .object(let object) = member else {
                throw .invalid([("members.item:\(index)", "Schema describes object, \(member.kind) found instead")])
            }
            do {
                var input = try MemberInput(object, takesTags: switches.bulkAppliesTags)
                input.replacesTags = body["sync_tags"]?.bool ?? false
                inputs.append(input)
            } catch {
                throw .invalid((error.errors ?? []).map { ("members.item:\(index).\($0.field)", $0.message) })
            }
        }
        var result = BulkResult()
        var context = context(call)
        context.firesWebhooks = switches.bulkFiresWebhooks
        let updates = body["update_existing"]?.bool ?? false
        let skipsDuplicates = call.query.flag("skip_duplicate_check")
        var seen: Set<HexID> = []
        for input in inputs {
            if let address = input.address, !seen.insert(HexID(address: address)).inserted {
                if !skipsDuplicates { result.refuse(address, "\(address) appears more than once in this request.") }
                continue
            }
            take(input, updates: updates, audience, context, &result)
        }
        return .ok(
            result.json(audience, links, selection), schema: "Lists/BatchPOST-Response", members: members.count)
    }

    private func take(
        _ input: MemberInput, updates: Bool, _ audience: Audience, _ context: WriteContext, _ result: inout BulkResult
    ) {
        guard let address = input.address else {
            return result.refuse("", "Please provide a valid email address.")
        }
        let status = input.status ?? .subscribed
        do throws(Problem) {
            guard let slot = audience.slot(hash: HexID(address: address)), let member = audience.member(at: slot) else {
                result.created.append(try insert(input, status, into: audience, context))
                return
            }
            let isNew = member.status == .archived && switches.bulkRevivesArchived
            guard isNew || updates else {
                return result.refuse(
                    address,
                    "\(address) is already a list member, do you want to update? please provide update_existing:true in the request body",
                    code: "ERROR_CONTACT_EXISTS")
            }
            try update(slot, input, isNew: isNew, audience, context, &result)
        } catch {
            let first = error.errors?.first
            result.refuse(address, error.detail, field: first?.field ?? "", message: first?.message ?? "")
        }
    }

    /// Updates a contact; a status that may not be set is left out when the API would say nothing about it.
    private func update(
        _ slot: Int, _ input: MemberInput, isNew: Bool, _ audience: Audience, _ context: WriteContext,
        _ result: inout BulkResult
    ) throws(Problem) {
        var input = input
        input.address = nil
        do {
            try change(slot, input, to: isNew ? input.status ?? .subscribed : input.status, in: audience, context)
        } catch  where error.title == "Member In Compliance State" && switches.bulkRefusesSilently && !isNew {
            try change(slot, input, to: nil, in: audience, context)
        }
        if isNew { result.created.append(slot) } else { result.updated.append(slot) }
    }
}

/// What became of the members of one bulk call.
struct BulkResult {
    var created: [Int] = []
    var updated: [Int] = []
    private var errors: [JSON] = []

    mutating func refuse(
        _ address: String, _ error: String, code: String = "ERROR_GENERIC", field: String = "", message: String = ""
    ) {
        errors.append([
            "email_address": .string(address), "error": .string(error), "error_code": .string(code),
            "field": .string(field),
            "field_message": .string(message),
        ])
    }

    func json(_ audience: Audience, _ links: Links, _ selection: FieldSelection) -> JSON {
        func members(_ slots: [Int], _ name: String) -> JSON {
            guard selection.wants(name) else { return [] }
            let rendering = MemberRendering(
                audience, links: selection.wants(name, "_links") ? links : nil, form: .brief)
            return .array(slots.compactMap { audience.member(at: $0).map { rendering.json($0) } })
        }
        return [
            "new_members": members(created, "new_members"), "updated_members": members(updated, "updated_members"),
            "errors": .array(errors), "total_created": .integer(created.count),
            "total_updated": .integer(updated.count),
            "error_count": .integer(errors.count),
            "_links": [links.link("self", "/lists/\(audience.id)", target: "Definitions/Lists/Response")],
        ]
    }
}
