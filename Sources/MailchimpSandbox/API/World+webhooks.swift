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
        let events = try Self.flags(body["events"], Webhook.eventNames, "events", of: [])
        let sources = try Self.flags(body["sources"], Webhook.sourceNames, "sources", of: [])
        try await validate(url, audience)
        let hook = Webhook(
            id: newID(10), url: url, events: events, sources: sources,
            secret: switches.signsWebhooks ? HexID(random: &generator).hex : nil)
        audience.webhooks.append(hook)
        return .ok(json(hook, audience, links, showsSecret: true), schema: "Lists/Webhooks/Instance")
    }

    /// Changes what is named; a webhook that was switched off stays so.
    func changeWebhook(_ call: Call, _ id: String, _ audience: Audience, _ links: Links) async throws(Problem) -> Answer
    {
        guard let hook = audience.webhooks.first(where: { $0.id == id }) else { throw .notFound }
        let body = try call.object()
        let events = try Self.flags(body["events"], Webhook.eventNames, "events", of: hook.events)
        let sources = try Self.flags(body["sources"], Webhook.sourceNames, "sources", of: hook.sources)
        let url = body["url"]?.string ?? hook.url
        if url != hook.url { try await validate(url, audience) }
        // It may have been deleted while its new address was asked.
        guard let index = audience.webhooks.firstIndex(where: { $0.id == id }) else { throw .notFound }
        audience.webhooks[index].url = url
        audience.webhooks[index].events = events
        audience.webhooks[index].sources = sources
        return .ok(json(audience.webhooks[index], audience, links), schema: "Lists/Webhooks/Instance")
    }

    func removeWebhook(_ id: String, _ audience: Audience) throws(Problem) -> Answer {
        guard let index = audience.webhooks.firstIndex(where: { $0.id == id }) else { throw .notFound }
        audience.webhooks.remove(at: index)
        courier.waiting.removeAll(for: id)
        return .noContent
    }

    /// The receiver must answer a GET before it is believed to exist.
    private func validate(_ url: String, _ audience: Audience) async throws(Problem) {
        try checkIsNew(url, audience)
        let status = try? await PlainHTTP.send("GET", url, timeout: courier.settings.timeout)
        guard status == 200 else {
            let answered = status.map { "it answered \($0)" } ?? "it did not answer"
            throw .invalid([("url", "We could not validate the WebHook URL: \(answered).")])
        }
        try checkIsNew(url, audience)
    }

    private func checkIsNew(_ url: String, _ audience: Audience) throws(Problem) {
        guard !audience.webhooks.contains(where: { $0.url == url }) else {
            throw .invalid([("url", "Sorry, you can't set up multiple WebHooks for one URL on the same list.")])
        }
    }

    /// The flags that are set once those that are named have been changed.
    private static func flags(_ value: JSON?, _ names: [String], _ field: String, of former: Set<String>)
        throws(Problem) -> Set<String>
    {
        guard let value else { return former }
        guard let object = value.object else {
            throw .invalid([(field, "Schema describes object, \(value.kind) found instead")])
        }
        return Set(names.filter { object[$0]?.bool ?? former.contains($0) })
    }

    private func json(_ hook: Webhook, _ audience: Audience, _ links: Links, showsSecret: Bool = false) -> JSON {
        func flags(_ names: [String], _ set: Set<String>) -> JSON {
            .object(JSONObject(pairs: names.map { JSONObject.Pair(key: $0, value: .bool(set.contains($0))) }))
        }
        let parent = "/lists/\(audience.id)/webhooks"
        var object: JSONObject = [
            "id": .string(hook.id), "url": .string(hook.url), "events": flags(Webhook.eventNames, hook.events),
            "sources": flags(Webhook.sourceNames, hook.sources), "list_id": .string(audience.id),
        ]
        if let secret = hook.secret {
            object.append("signing_enabled", true)
            // Shown once; whoever loses it makes another webhook.
            if showsSecret { object.append("signing_secret", .string(secret)) }
        }
        object.append(
            "_links", links.item("\(parent)/\(hook.id)", parent: parent, schema: "Lists/Webhooks", deletes: true))
        return .object(object)
    }
}
