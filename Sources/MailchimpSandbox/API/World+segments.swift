/// The segments of a list, of which the static ones are its tags.
extension World {
    static let segmentLimit = 500

    func segments(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let page = try paging(call)
        let kind = call.query["type"]
        let created = try Span(call.query, "created_at")
        let updated = try Span(call.query, "updated_at")
        let found = audience.segments.all.filter { segment in
            (kind ?? segment.kind.rawValue) == segment.kind.rawValue && created.holds(segment.created)
                && updated.holds(segment.updated)
        }
        let scope = SegmentScope(call.query)
        let path = "/lists/\(audience.id)/segments"
        let body: JSON = [
            "segments": .list(page.of(found).map { json($0, audience, scope, links) }),
            "list_id": .string(audience.id), "total_items": .integer(found.count),
            "_links": links.collection(path, parent: "/lists/\(audience.id)", schema: "Lists/Segments"),
        ]
        return .ok(body, schema: "Lists/Segments/Collection")
    }

    func segment(_ call: Call, _ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let segment = audience.segments[id] else { throw .notFound }
        return .ok(json(segment, audience, SegmentScope(call.query), links), schema: "Lists/Segments/Instance")
    }

    func addSegment(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let body = try call.object()
        let name = try segmentName(body, audience)
        guard let name else { throw .missing(["name"]) }
        let id: Int
        if let addresses = try addresses(body, "static_segment") {
            id = addTag(name, audience)
            for slot in slots(addresses, audience) { set(true, name, slot, audience, context(call)) }
        } else if let options = body["options"]?.object {
            id = newWebID()
            var segment = Segment(id: id, name: name, kind: .saved, created: now(), updated: now())
            segment.options = .object(options)
            audience.segments.add(segment)
        } else {
            throw .invalid("Must provide either an \"options\" field or a \"static_segment\" field")
        }
        return try segment(call, id, audience, links)
    }

    func changeSegment(_ call: Call, _ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let body = try call.object()
        guard let known = audience.segments[id] else { throw .notFound }
        let name = try segmentName(body, audience, except: id)
        let addresses = known.kind == .tag ? try addresses(body, "static_segment") : nil
        let now = now()
        audience.segments.change(id) { segment in
            if let name { segment.name = name }
            if segment.kind == .saved, let options = body["options"]?.object { segment.options = .object(options) }
            segment.updated = now
        }
        if let addresses {
            let wanted = Set(slots(addresses, audience))
            let name = audience.segments[id]?.name ?? ""
            for slot in known.slots.subtracting(wanted) { set(false, name, slot, audience, context(call)) }
            for slot in wanted { set(true, name, slot, audience, context(call)) }
        }
        return try segment(call, id, audience, links)
    }

    func removeSegment(_ id: Int, _ audience: Audience) throws(Problem) -> Answer {
        guard audience.segments[id] != nil else { throw .notFound }
        audience.removeSegment(id, at: now())
        return .noContent
    }

    /// Adds and removes up to 500 members each; addresses that the list does not have are passed over in silence.
    func changeSegmentMembers(_ call: Call, _ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let tag = try tag(id, audience)
        let body = try call.object()
        let added = try addresses(body, "members_to_add") ?? []
        let removed = try addresses(body, "members_to_remove") ?? []
        guard added.count <= Self.segmentLimit, removed.count <= Self.segmentLimit else {
            throw .invalid(
                "Maximum allowed member items exceeded, please provide at most \(Self.segmentLimit) items in "
                    + "members_to_add field or members_to_remove field")
        }
        let context = context(call)
        func change(_ addresses: [String], _ isOn: Bool) -> [JSON] {
            let rendering = MemberRendering(audience, links: links, form: .brief)
            return slots(addresses, audience).compactMap { slot in
                let isSame = audience.member(at: slot)?.tags.contains { $0.segment == id } == isOn
                if isSame, !(isOn && switches.segmentsCountPresent) { return nil }
                set(isOn, tag.name, slot, audience, context)
                return audience.member(at: slot).map { rendering.json($0) }
            }
        }
        let on = change(added, true)
        let off = change(removed, false)
        let answer: JSON = [
            "members_added": .array(on), "members_removed": .array(off), "errors": [],
            "total_added": .integer(on.count), "total_removed": .integer(off.count), "error_count": 0,
            "_links": [links.link("self", "/lists/\(audience.id)/segments/\(id)")],
        ]
        return .ok(answer, schema: "Lists/Segments/BatchPOST-Response")
    }

    func segmentMembers(_ call: Call, _ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let segment = audience.segments[id] else { throw .notFound }
        let page = try paging(call)
        let scope = SegmentScope(call.query)
        let found = segment.slots.sorted().compactMap { audience.member(at: $0) }.filter { scope.holds($0.status) }
        let rendering = MemberRendering(audience, links: links, form: .ofSegment)
        let path = "/lists/\(audience.id)/segments/\(id)"
        let body: JSON = [
            "members": .list(page.of(found).map { rendering.json($0) }), "total_items": .integer(found.count),
            "_links": links.collection("\(path)/members", parent: path, schema: "Lists/Segments/Members"),
        ]
        return .ok(body, schema: "Lists/Segments/Members/Collection")
    }

    func addSegmentMember(_ call: Call, _ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let tag = try tag(id, audience)
        guard let address = try call.object()["email_address"]?.string else { throw .missing(["email_address"]) }
        guard let slot = slots([address], audience).first else { throw .notFound }
        set(true, tag.name, slot, audience, context(call))
        guard let member = audience.member(at: slot) else { throw .notFound }
        let rendering = MemberRendering(audience, links: links, form: .ofSegment)
        return .ok(rendering.json(member), schema: "Lists/Segments/Members/Instance")
    }

    func removeSegmentMember(_ call: Call, _ id: Int, _ reference: String, _ audience: Audience) throws(Problem)
        -> Answer
    {
        let tag = try tag(id, audience)
        set(false, tag.name, try slot(reference, in: audience), audience, context(call))
        return .noContent
    }

    private func tag(_ id: Int, _ audience: Audience) throws(Problem) -> Segment {
        guard let segment = audience.segments[id], segment.kind == .tag else {
            throw Problem(
                404, "Resource Not Found", "A Static Segment with an id of \(id) does not exist for this list.")
        }
        return segment
    }

    /// The name in a body, which no other segment of the list may have.
    private func segmentName(_ body: JSONObject, _ audience: Audience, except id: Int? = nil) throws(Problem)
        -> String?
    {
        guard let value = body["name"] else { return nil }
        guard let name = value.string.map({ String($0.trimming) }), !name.isEmpty else {
            throw .invalid([("name", "Schema describes string, \(value.kind) found instead")])
        }
        let other = audience.segments.id(named: name)
        guard other == nil || other == id else { throw Problem(400, "Bad Request", "Sorry, that tag already exists.") }
        return name
    }

    private func addresses(_ body: JSONObject, _ field: String) throws(Problem) -> [String]? {
        guard let value = body[field] else { return nil }
        guard let values = value.array else {
            throw .invalid([(field, "Schema describes array, \(value.kind) found instead")])
        }
        for (index, value) in values.enumerated() where value.string == nil {
            throw .invalid([("\(field).item:\(index)", "Schema describes string, \(value.kind) found instead")])
        }
        return values.compactMap(\.string)
    }

    /// The members of these addresses, each once; archived ones count as not there.
    private func slots(_ addresses: [String], _ audience: Audience) -> [Int] {
        var seen: Set<Int> = []
        return addresses.compactMap { audience.slot(hash: HexID(address: String($0.trimming))) }
            .filter { audience.statuses[$0] != .archived && seen.insert($0).inserted }
    }

    private func json(_ segment: Segment, _ audience: Audience, _ scope: SegmentScope, _ links: Links) -> JSON {
        let parent = "/lists/\(audience.id)/segments"
        let count = segment.slots.count { slot in audience.statuses[slot].map { scope.holds($0) } ?? false }
        var object: JSONObject = [
            "id": .integer(segment.id), "name": .string(segment.name), "member_count": .integer(count),
            "type": .string(segment.kind.rawValue), "created_at": .string(Timestamp.text(segment.created)),
            "updated_at": .string(Timestamp.text(segment.updated)),
        ]
        if let options = segment.options { object.append("options", options) }
        object.append("list_id", .string(audience.id))
        object.append(
            "_links", links.item("\(parent)/\(segment.id)", parent: parent, schema: "Lists/Segments", deletes: true))
        return .object(object)
    }
}

/// Which members a segment counts and shows; subscribed ones always.
struct SegmentScope: Sendable {
    private var statuses: Set<MemberStatus> = [.subscribed]

    init(_ query: Query) {
        if query.flag("include_cleaned") { statuses.insert(.cleaned) }
        if query.flag("include_transactional") { statuses.insert(.transactional) }
        if query.flag("include_unsubscribed") { statuses.insert(.unsubscribed) }
    }

    func holds(_ status: MemberStatus) -> Bool { statuses.contains(status) }
}
