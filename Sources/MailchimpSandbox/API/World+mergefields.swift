/// The merge fields of a list.
extension World {
    func mergeFields(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let page = try paging(call)
        var fields = audience.mergeFields
        if let kind = call.query["type"] { fields = fields.filter { $0.kind.rawValue == kind } }
        if call.query["required"] != nil { fields = fields.filter { $0.isRequired == call.query.flag("required") } }
        let path = "/lists/\(audience.id)/merge-fields"
        let body: JSON = [
            "merge_fields": .list(page.of(fields).map { json($0, audience, links) }),
            "list_id": .string(audience.id), "total_items": .integer(fields.count),
            "_links": links.collection(path, parent: "/lists/\(audience.id)", schema: "Lists/MergeFields"),
        ]
        return .ok(body, schema: "Lists/MergeFields/Collection")
    }

    func mergeField(_ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let field = audience.mergeFields[try index(id, audience)]
        return .ok(json(field, audience, links), schema: "Lists/MergeFields/Instance")
    }

    func addMergeField(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let body = try call.object()
        guard let name = body["name"]?.string, let type = body["type"]?.string else {
            throw .missing(["name", "type"])
        }
        guard let kind = MergeField.Kind(rawValue: type) else {
            throw .notAmong("type", MergeField.Kind.allCases.map(\.rawValue))
        }
        let limit = switches.allowsManyMergeFields ? 80 : 30
        guard audience.mergeFields.count < limit else {
            throw Problem(400, "Merge Max Limit Exceeded", "You have reached the limit of \(limit) merge fields.")
        }
        // A number that was given away once is not given away again.
        let id = audience.nextMergeID
        var field = MergeField(id: id, tag: "", name: name, kind: kind, isPublic: false, displayOrder: id + 1)
        field.dateFormat = kind == .birthday ? "MM/DD" : "MM/DD/YYYY"
        try fill(&field, body, audience)
        if field.tag.isEmpty { field.tag = derivedTag(name, audience) }
        audience.nextMergeID += 1
        audience.mergeFields.append(field)
        return .ok(json(field, audience, links), schema: "Lists/MergeFields/Instance")
    }

    /// Changes everything but the type, which a field keeps; the values stay when the tag changes.
    func changeMergeField(_ call: Call, _ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let index = try index(id, audience)
        var field = audience.mergeFields[index]
        try fill(&field, try call.object(), audience)
        audience.mergeFields[index] = field
        return try mergeField(id, audience, links)
    }

    func removeMergeField(_ id: Int, _ audience: Audience) throws(Problem) -> Answer {
        audience.removeMergeField(at: try index(id, audience))
        return .noContent
    }

    private func index(_ id: Int, _ audience: Audience) throws(Problem) -> Int {
        guard let index = audience.mergeFields.firstIndex(where: { $0.id == id }) else { throw .notFound }
        return index
    }

    private func fill(_ field: inout MergeField, _ body: JSONObject, _ audience: Audience) throws(Problem) {
        if let name = try body.text("name") { field.name = name }
        if let tag = body["tag"]?.string, !tag.isEmpty { field.tag = try checkedTag(tag, of: field, audience) }
        if let isRequired = body["required"]?.bool { field.isRequired = isRequired }
        if let value = body["default_value"]?.string { field.defaultValue = value }
        if let isPublic = body["public"]?.bool { field.isPublic = isPublic }
        if let order = body["display_order"]?.integer { field.displayOrder = order }
        if let text = body["help_text"]?.string { field.helpText = text }
        let options = body["options"]
        if let choices = options?["choices"]?.array { field.choices = choices.compactMap(\.string) }
        if let format = options?["phone_format"]?.string { field.phoneFormat = format }
        if let format = options?["date_format"]?.string { field.dateFormat = format }
        if let size = options?["size"]?.integer { field.size = size }
    }

    private func checkedTag(_ asked: String, of field: MergeField, _ audience: Audience) throws(Problem) -> String {
        let tag = asked.uppercased()
        guard tag.utf8.count <= 10, tag.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }) else {
            throw .invalid([("tag", "A merge tag has at most 10 letters, digits and underscores.")])
        }
        let others = audience.mergeFields.filter { $0.id != field.id }.map(\.tag)
        guard tag != "EMAIL", !others.contains(tag) else {
            throw .invalid("A Merge Field with the tag \"\(tag)\" already exists for this list.")
        }
        return tag
    }

    /// A tag made from a name, or a numbered one when that is taken or nothing of the name can stand in a tag.
    private func derivedTag(_ name: String, _ audience: Audience) -> String {
        let taken = Set(audience.mergeFields.map(\.tag)).union(["EMAIL"])
        let base = String(name.uppercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) }.prefix(10))
        if !base.isEmpty, !taken.contains(base) { return base }
        return (audience.nextMergeID...).lazy.map { "MMERGE\($0)" }.first { !taken.contains($0) } ?? base
    }

    private func json(_ field: MergeField, _ audience: Audience, _ links: Links) -> JSON {
        let options: JSON =
            switch field.kind {
            case .text: ["size": .integer(field.size)]
            case .phone: ["phone_format": .string(field.phoneFormat)]
            case .address: ["default_country": 164]
            case .date, .birthday: ["date_format": .string(field.dateFormat)]
            case .radio, .dropdown: ["choices": .strings(field.choices)]
            case .number, .url, .imageurl, .zip: [:]
            }
        let parent = "/lists/\(audience.id)/merge-fields"
        return [
            "merge_id": .integer(field.id), "tag": .string(field.tag), "name": .string(field.name),
            "type": .string(field.kind.rawValue), "required": .bool(field.isRequired),
            "default_value": .string(field.defaultValue), "public": .bool(field.isPublic),
            "display_order": .integer(field.displayOrder), "options": options, "help_text": .string(field.helpText),
            "list_id": .string(audience.id),
            "_links": links.item("\(parent)/\(field.id)", parent: parent, schema: "Lists/MergeFields", deletes: true),
        ]
    }
}
