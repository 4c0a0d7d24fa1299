/// The tags of members.
extension World {
    /// The most tags of a member that his object tells; there is another call for all of them.
    static let tagsShown = 50

    func tags(_ call: Call, _ reference: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let member = audience.member(at: try slot(reference, in: audience)) else { throw .notFound }
        let page = try paging(call)
        let tags = page.of(member.tags).compactMap { tag in
            audience.segments[tag.segment].map { segment -> JSON in
                [
                    "id": .integer(segment.id), "name": .string(segment.name),
                    "date_added": .string(Timestamp.text(tag.added)),
                ]
            }
        }
        let path = "/lists/\(audience.id)/members/\(member.hash.hex)"
        let body: JSON = [
            "tags": .array(tags), "total_items": .integer(member.tags.count),
            "_links": [links.link("self", "\(path)/tags"), links.link("parent", path)],
        ]
        return .ok(body, schema: "Lists/Members/Tags/Collection")
    }

    /// Switches the named tags on and off.
    ///
    /// Whatever the body is, the answer is the same: what it does not understand, the API leaves undone without a word.
    func changeTags(_ call: Call, _ reference: String, _ audience: Audience) throws(Problem) -> Answer {
        let slot = try slot(reference, in: audience)
        if case .broken = call.body.content { _ = try call.object() }
        guard case .json(let body) = call.body.content, let tags = body["tags"]?.array else { return .noContent }
        for tag in tags {
            guard let name = tag["name"]?.string.map({ String($0.trimming) }), !name.isEmpty else { continue }
            switch tag["status"]?.string {
            case "active": set(true, name, slot, audience, context(call))
            case "inactive": set(false, name, slot, audience, context(call))
            default: continue
            }
        }
        return .noContent
    }

    func searchTags(_ call: Call, _ audience: Audience) -> Answer {
        let wanted = (call.query["name"] ?? "").lowercased()
        let found = audience.segments.all.filter { $0.kind == .tag && $0.name.lowercased().hasPrefix(wanted) }
        let tags = found.map { tag -> JSON in ["id": .integer(tag.id), "name": .string(tag.name)] }
        return .ok(["tags": .list(tags), "total_items": .integer(tags.count)], schema: "Lists/TagSearch/Collection")
    }

    /// Gives a member a tag, which is made when the list has none of that name, or takes it from him.
    func set(_ isOn: Bool, _ name: String, _ slot: Int, _ audience: Audience, _ context: WriteContext) {
        guard let tag = audience.segments.id(named: name) ?? (isOn ? addTag(name, audience) : nil) else { return }
        guard audience.set(tag, isOn, of: slot, at: now()), var member = audience.member(at: slot) else { return }
        record(&member, isOn ? "tag \(name)" : "tag \(name) off", context, at: member.lastChanged)
        audience.replace(slot, with: member)
    }

    /// Gives a member these tags, and takes all others from him when `replaces` is true.
    func set(_ names: [String], replaces: Bool, _ slot: Int, _ audience: Audience, _ context: WriteContext) {
        if replaces {
            let kept = Set(names.compactMap { audience.segments.id(named: $0) })
            for tag in audience.member(at: slot)?.tags ?? [] where !kept.contains(tag.segment) {
                set(false, audience.segments[tag.segment]?.name ?? "", slot, audience, context)
            }
        }
        for name in names where !name.isEmpty { set(true, name, slot, audience, context) }
    }

    /// Makes a tag without members; returns its id.
    func addTag(_ name: String, _ audience: Audience) -> Int {
        let now = now()
        let tag = Segment(id: newWebID(), name: name, kind: .tag, created: now, updated: now)
        audience.segments.add(tag)
        return tag.id
    }
}
