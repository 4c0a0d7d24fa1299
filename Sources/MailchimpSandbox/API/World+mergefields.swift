/// The merge fields of a list.
extension World {
    static let mergeFieldLimit = 30

    func mergeFields(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let count = try call.query.number("count", default: 10, in: 0...1000)
        let offset = try call.query.number("offset", default: 0, in: 0...Int.max)
        var fields = audience.mergeFields
        if let kind = call.query["type"] { fields = fields.filter { $0.kind.rawValue == kind } }
        if call.query["required"] != nil { fields = fields.filter { $0.isRequired == call.query.flag("required") } }
        let path = "/lists/\(audience.id)/merge-fields"
        let body: JSON = [
            "merge_fields": .list(fields.dropFirst(offset).prefix(count).map { json($0, audience, links) }),
            "list_id": .string(audience.id), "total_items": .integer(fields.count),
            "_links": links.collection(path, parent: "/lists/\(audience.id)", schema: "Lists/MergeFields"),
        ]
        return .ok(body, schema: "Lists/MergeFields/Collection")
    }

    func mergeField(_ id: Int, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let field = audience.mergeFields.first(where: { $0.id == id }) else { throw .notFound }
        return .ok(json(field, audience, links), schema: "Lists/MergeFields/Instance")
    }

    func addMergeField(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let body = try call.object()
        guard let name = body["name"]?.string, let type = body["type"]?.string else {
            throw .invalid([("", "Required fields were not provided: name, type")])
        }
        guard let kind = MergeField.Kind(rawValue: type) else {
            let accepted = MergeField.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw .invalid([("type", "Data presented is not one of the accepted values: \(accepted).")])
        }
        guard audience.mergeFields.count < Self.mergeFieldLimit else {
            throw Problem(
                400, "Merge Max Limit Exceeded", "You have reached the limit of \(Self.mergeFieldLimit) merge fields.")
        }
        let tag = try tag(body["tag"]?.string, name: name, audience)
        let id = (audience.mergeFields.map(\.id).max() ?? 0) + 1
        var field = MergeField(id: id, tag: tag, name: name, kind: kind, displayOrder: id + 1)
        field.isRequired = body["required"]?.bool ?? false
        field.defaultValue = body["default_value"]?.string ?? ""
        field.isPublic = body["public"]?.bool ?? false
        field.helpText = body["help_text"]?.string ?? ""
        if let order = body["display_order"]?.integer { field.displayOrder = order }
        let options = body["options"]
        field.choices = options?["choices"]?.array?.compactMap(\.string) ?? []
        field.phoneFormat = options?["phone_format"]?.string ?? "none"
        field.dateFormat = options?["date_format"]?.string ?? (kind == .birthday ? "MM/DD" : "MM/DD/YYYY")
        field.size = options?["size"]?.integer ?? 25
        audience.mergeFields.append(field)
        return .ok(json(field, audience, links), schema: "Lists/MergeFields/Instance")
    }

    /// The tag that was asked for, or one made from the name.
    private func tag(_ asked: String?, name: String, _ audience: Audience) throws(Problem) -> String {
        let taken = Set(audience.mergeFields.map(\.tag)).union(["EMAIL"])
        if let asked, !asked.isEmpty {
            let tag = asked.uppercased()
            guard tag.utf8.count <= 10, tag.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") })
            else {
                throw .invalid([("tag", "A merge tag has at most 10 letters, digits and underscores.")])
            }
            guard !taken.contains(tag) else {
                throw .invalid("A Merge Field with the tag \"\(tag)\" already exists for this list.")
            }
            return tag
        }
        let base = String(name.uppercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) }.prefix(10))
        let derived = (1...).lazy.map { "MMERGE\($0)" }.first { !taken.contains($0) } ?? base
        return base.isEmpty || taken.contains(base) ? derived : base
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
            "_links": links.item("\(parent)/\(field.id)", parent: parent, schema: "Lists/MergeFields"),
        ]
    }
}
