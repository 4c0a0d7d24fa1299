/// Interest categories and interests.
extension World {
    static let interestLimit = 60

    func categories(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let page = try paging(call)
        let kind = call.query["type"]
        let found = audience.choices.categories.filter { (kind ?? $0.kind.rawValue) == $0.kind.rawValue }
            .sorted { $0.displayOrder < $1.displayOrder }
        let path = "/lists/\(audience.id)/interest-categories"
        let body: JSON = [
            "list_id": .string(audience.id), "categories": .list(page.of(found).map { json($0, audience, links) }),
            "total_items": .integer(found.count),
            "_links": links.collection(path, parent: "/lists/\(audience.id)", schema: "Lists/InterestCategories"),
        ]
        return .ok(body, schema: "Lists/InterestCategories/Collection")
    }

    func category(_ id: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        .ok(json(try category(id, audience), audience, links), schema: "Lists/InterestCategories/Instance")
    }

    func addCategory(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let body = try call.object()
        guard body["title"] != nil, body["type"] != nil else { throw .missing(["title", "type"]) }
        var category = InterestCategory(
            id: newID(10), title: "", kind: .checkboxes, displayOrder: audience.choices.categories.count)
        try fill(&category, body, audience)
        audience.choices.categories.append(category)
        return .ok(json(category, audience, links), schema: "Lists/InterestCategories/Instance")
    }

    func changeCategory(_ call: Call, _ id: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        var category = try category(id, audience)
        try fill(&category, try call.object(), audience)
        audience.choices.categories = audience.choices.categories.map { $0.id == id ? category : $0 }
        return .ok(json(category, audience, links), schema: "Lists/InterestCategories/Instance")
    }

    func removeCategory(_ id: String, _ audience: Audience) throws(Problem) -> Answer {
        _ = try category(id, audience)
        audience.removeInterests { $0.category == id }
        audience.choices.categories.removeAll { $0.id == id }
        return .noContent
    }

    func interests(_ call: Call, _ category: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        _ = try self.category(category, audience)
        let page = try paging(call)
        let found = audience.choices.interests(of: category)
        let parent = "/lists/\(audience.id)/interest-categories/\(category)"
        let counts = interestCounts(audience)
        let body: JSON = [
            "interests": .list(page.of(found).map { json($0, counts, audience, links) }),
            "list_id": .string(audience.id), "category_id": .string(category), "total_items": .integer(found.count),
            "_links": links.collection(
                "\(parent)/interests", parent: parent, schema: "Lists/InterestCategories/Interests"),
        ]
        return .ok(body, schema: "Lists/InterestCategories/Interests/Collection")
    }

    func interest(_ id: String, of category: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        let interest = try interest(id, of: category, audience)
        return .ok(
            json(interest, interestCounts(audience), audience, links),
            schema: "Lists/InterestCategories/Interests/Instance")
    }

    func addInterest(_ call: Call, _ category: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        _ = try self.category(category, audience)
        let body = try call.object()
        guard body["name"] != nil else { throw .missing(["name"]) }
        guard audience.choices.interests.count < Self.interestLimit else {
            throw .invalid("A list can have \(Self.interestLimit) interests at most.")
        }
        let order = audience.choices.interests(of: category).count + 1
        var interest = Interest(id: newID(10), category: category, name: "", displayOrder: order)
        try fill(&interest, body, audience)
        audience.choices.interests.append(interest)
        return try self.interest(interest.id, of: category, audience, links)
    }

    func changeInterest(_ call: Call, _ id: String, of category: String, _ audience: Audience, _ links: Links)
        throws(Problem) -> Answer
    {
        var interest = try interest(id, of: category, audience)
        try fill(&interest, try call.object(), audience)
        audience.choices.interests = audience.choices.interests.map { $0.id == id ? interest : $0 }
        return try self.interest(id, of: category, audience, links)
    }

    func removeInterest(_ id: String, of category: String, _ audience: Audience) throws(Problem) -> Answer {
        _ = try interest(id, of: category, audience)
        audience.removeInterests { $0.id == id }
        return .noContent
    }

    private func category(_ id: String, _ audience: Audience) throws(Problem) -> InterestCategory {
        guard let category = audience.choices.categories.first(where: { $0.id == id }) else { throw .notFound }
        return category
    }

    private func interest(_ id: String, of category: String, _ audience: Audience) throws(Problem) -> Interest {
        let found = audience.choices.interests.first { $0.id == id && $0.category == category }
        guard let found else { throw .notFound }
        return found
    }

    private func fill(_ category: inout InterestCategory, _ body: JSONObject, _ audience: Audience) throws(Problem) {
        if let title = try body.text("title") {
            let id = category.id
            guard !audience.choices.categories.contains(where: { $0.title == title && $0.id != id }) else {
                throw .invalid("An interest category with the title '\(title)' already exists.")
            }
            category.title = title
        }
        if let type = try body.text("type") {
            guard let kind = InterestCategory.Kind(rawValue: type) else {
                throw .notAmong("type", InterestCategory.Kind.allCases.map(\.rawValue))
            }
            category.kind = kind
        }
        if let order = body["display_order"]?.integer { category.displayOrder = order }
    }

    private func fill(_ interest: inout Interest, _ body: JSONObject, _ audience: Audience) throws(Problem) {
        if let name = try body.text("name") {
            let id = interest.id
            // A name is used once in a list, not once in a category.
            guard !audience.choices.interests.contains(where: { $0.name == name && $0.id != id }) else {
                throw .invalid("Cannot add \"\(name)\" because it already exists on the list.")
            }
            interest.name = name
        }
        if let order = body["display_order"]?.integer { interest.displayOrder = order }
    }

    /// How many subscribed members have each interest.
    private func interestCounts(_ audience: Audience) -> [String: Int] {
        var counts: [String: Int] = [:]
        for case let member? in audience.members where member.status == .subscribed {
            for interest in member.agreements.interests { counts[interest, default: 0] += 1 }
        }
        return counts
    }

    private func json(_ category: InterestCategory, _ audience: Audience, _ links: Links) -> JSON {
        let parent = "/lists/\(audience.id)/interest-categories"
        return [
            "list_id": .string(audience.id), "id": .string(category.id), "title": .string(category.title),
            "display_order": .integer(category.displayOrder), "type": .string(category.kind.rawValue),
            "_links": links.item(
                "\(parent)/\(category.id)", parent: parent, schema: "Lists/InterestCategories", deletes: true),
        ]
    }

    /// The number of subscribers is a text, as in the real answers.
    private func json(_ interest: Interest, _ counts: [String: Int], _ audience: Audience, _ links: Links) -> JSON {
        let parent = "/lists/\(audience.id)/interest-categories/\(interest.category)/interests"
        return [
            "category_id": .string(interest.category), "list_id": .string(audience.id), "id": .string(interest.id),
            "name": .string(interest.name), "subscriber_count": .string(String(counts[interest.id] ?? 0)),
            "display_order": .integer(interest.displayOrder),
            "_links": links.item(
                "\(parent)/\(interest.id)", parent: parent, schema: "Lists/InterestCategories/Interests", deletes: true),
        ]
    }
}

extension JSONObject {
    /// A text of a body that is not empty, or a schema error.
    func text(_ name: String) throws(Problem) -> String? {
        guard let value = self[name] else { return nil }
        guard let text = value.string else {
            throw .invalid([(name, "Schema describes string, \(value.kind) found instead")])
        }
        guard !text.trimming.isEmpty else { throw .invalid([(name, "This value should not be blank.")]) }
        return String(text.trimming)
    }
}
