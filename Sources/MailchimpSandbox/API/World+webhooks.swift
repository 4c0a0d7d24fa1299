/// The webhooks of a list.
extension World {
    func webhooks(_ audience: Audience, _ links: Links) -> Answer {
        let path = "/lists/\(audience.id)/webhooks"
        let body: JSON = [
            "webhooks": .list(audience.webhooks.map { json($0, audience, links) }), "list_id": .string(audience.id),
            "total_items": .integer(audience.webhooks.count),
            "_links": links.collection(path, parent: "/lists/\(audience.id)", schema: "Lists/Webhooks"),
        ]
        return .ok(body, schema: "Lists/Webhooks/Collection")
    }

    func webhook(_ id: String, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        guard let hook = audience.webhooks.first(where: { $0.id == id }) else { throw .notFound }
        return .ok(json(hook, audience, links), schema: "Lists/Webhooks/Instance")
    }

    func addWebhook(_ call: Call, _ audience: Audience, _ links: Links) async throws(Problem) -> Answer {
        let body = try call.object()
        guard let url = body["url"]?.string, !url.isEmpty else {
            throw .invalid([("url", "Required fields were not provided: url")])
        }
        try checkIsNew(url, audience)
        // The receiver must answer a GET before it is believed to exist.
        let status = try? await PlainHTTP.send("GET", url, timeout: configuration.webhookTimeout)
        guard status == 200 else {
            let answered = status.map { "it answered \($0)" } ?? "it did not answer"
            throw .invalid([("url", "We could not validate the WebHook URL: \(answered).")])
        }
        try checkIsNew(url, audience)
        var hook = Webhook(id: newID(10), url: url, events: [], sources: [])
        hook.events = try Self.flags(body["events"], Webhook.eventNames, "events")
        hook.sources = try Self.flags(body["sources"], Webhook.sourceNames, "sources")
        audience.webhooks.append(hook)
        return .ok(json(hook, audience, links), schema: "Lists/Webhooks/Instance")
    }

    func removeWebhook(_ id: String, _ audience: Audience) throws(Problem) -> Answer {
        guard let index = audience.webhooks.firstIndex(where: { $0.id == id }) else { throw .notFound }
        audience.webhooks.remove(at: index)
        return .noContent
    }

    private func checkIsNew(_ url: String, _ audience: Audience) throws(Problem) {
        guard !audience.webhooks.contains(where: { $0.url == url }) else {
            throw .invalid([("url", "Sorry, you can't set up multiple WebHooks for one URL on the same list.")])
        }
    }

    private static func flags(_ value: JSON?, _ names: [String], _ field: String) throws(Problem) -> Set<String> {
        guard let value else { return [] }
        guard let object = value.object else {
            throw .invalid([(field, "Schema describes object, \(value.kind) found instead")])
        }
        return Set(names.filter { object[$0]?.bool == true })
    }

    private func json(_ hook: Webhook, _ audience: Audience, _ links: Links) -> JSON {
        func flags(_ names: [String], _ set: Set<String>) -> JSON {
            .object(JSONObject(pairs: names.map { JSONObject.Pair(key: $0, value: .bool(set.contains($0))) }))
        }
        let parent = "/lists/\(audience.id)/webhooks"
        return [
            "id": .string(hook.id), "url": .string(hook.url), "events": flags(Webhook.eventNames, hook.events),
            "sources": flags(Webhook.sourceNames, hook.sources), "list_id": .string(audience.id),
            "_links": links.item("\(parent)/\(hook.id)", parent: parent, schema: "Lists/Webhooks", deletes: true),
        ]
    }
}
