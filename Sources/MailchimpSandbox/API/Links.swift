/// The links that every object carries, with the data centre of the account.
struct Links: Sendable {
    let root: String
    let schemas: String
    let admin: String

    init(account: Account) {
        let host = "https://\(account.dataCentre)"
        root = "\(host).api.mailchimp.com/3.0"
        schemas = "\(host).api.mailchimp.com/schema/3.0"
        admin = "\(host).admin.mailchimp.com"
    }

    func link(_ rel: String, _ path: String, _ method: String = "GET", target: String? = nil, schema: String? = nil)
        -> JSON
    {
        var object: JSONObject = ["rel": .string(rel), "href": .string(root + path), "method": .string(method)]
        if let target { object.append("targetSchema", .string("\(schemas)/\(target).json")) }
        if let schema { object.append("schema", .string("\(schemas)/\(schema).json")) }
        return .object(object)
    }

    func member(list: String, hash: String) -> JSON {
        let members = "/lists/\(list)/members"
        let member = "\(members)/\(hash)"
        let instance = "Definitions/Lists/Members/Response"
        return [
            link("self", member, target: instance),
            link(
                "parent", members, target: "Definitions/Lists/Members/CollectionResponse",
                schema: "Paths/Lists/Members/Collection"),
            link("update", member, "PATCH", target: instance, schema: "Definitions/Lists/Members/PATCH"),
            link("upsert", member, "PUT", target: instance, schema: "Definitions/Lists/Members/PUT"),
            link("delete", member, "DELETE"),
            link("activity", "\(member)/activity", target: "Definitions/Lists/Members/Activity/Response"),
            link("goals", "\(member)/goals", target: "Definitions/Lists/Members/Goals/Response"),
            link("notes", "\(member)/notes", target: "Definitions/Lists/Members/Notes/CollectionResponse"),
            link("events", "\(member)/events", "POST", target: "Definitions/Lists/Members/Events/POST"),
            link("delete_permanent", "\(member)/actions/delete-permanent", "POST"),
        ]
    }

    /// The links of a thing that can be read, found through its collection, and perhaps deleted.
    func item(_ path: String, parent: String, schema: String, deletes: Bool = false) -> JSON {
        var links = [
            link("self", path, target: "Definitions/\(schema)/Response"),
            link("parent", parent, target: "Definitions/\(schema)/CollectionResponse"),
        ]
        if deletes { links.append(link("delete", path, "DELETE")) }
        return .array(links)
    }

    func collection(_ path: String, parent: String, schema: String) -> JSON {
        [
            link(
                "self", path, target: "Definitions/\(schema)/CollectionResponse", schema: "Paths/\(schema)/Collection"),
            link("parent", parent),
            link(
                "create", path, "POST", target: "Definitions/\(schema)/Response", schema: "Definitions/\(schema)/POST"),
        ]
    }
}
