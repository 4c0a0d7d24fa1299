extension World {
    /// Answers a call of the Marketing API that has been admitted.
    func answer(_ call: Call, to endpoint: Endpoint) async throws(Problem) -> Answer {
        guard endpoint.methods.contains(call.method) else { throw .notAllowed(endpoint.methods) }
        guard let account = call.account else { throw .keyMissing }
        let selection = FieldSelection(fields: call.query["fields"], excluding: call.query["exclude_fields"])
        if switches.refusesBothFieldLists, call.query["fields"] != nil, call.query["exclude_fields"] != nil {
            throw .bothFieldLists
        }
        let links = Links(account: account)
        switch (endpoint, call.method) {
        case (.root, _): return root(account, links)
        case (.ping, _): return .ok(["health_status": "Everything's Chimpy!"], schema: "Ping")
        case (.lists, _): return try lists(call, account, links)
        case (.list(let id), "GET"): return try list(id, account, links)
        case (.list(let id), _): return try bulk(call, try audience(id, account), links, selection)
        case (.members(let id), "GET"): return try members(call, try audience(id, account), links, selection)
        case (.members(let id), _): return try create(call, try audience(id, account), links)
        case (.member(let id, let reference), "GET"): return try member(reference, try audience(id, account), links)
        case (.member(let id, let reference), "PUT"):
            return try upsert(call, reference, try audience(id, account), links)
        case (.member(let id, let reference), "PATCH"):
            return try update(call, reference, try audience(id, account), links)
        case (.member(let id, let reference), _): return try archive(reference, try audience(id, account))
        case (.activity(let id, let reference), _):
            return try activity(call, reference, try audience(id, account), links)
        case (.deletePermanent(let id, let reference), _):
            return try deletePermanently(reference, try audience(id, account))
        case (.mergeFields(let id), "GET"): return try mergeFields(call, try audience(id, account), links)
        case (.mergeFields(let id), _): return try addMergeField(call, try audience(id, account), links)
        case (.mergeField(let id, let field), _): return try mergeField(field, try audience(id, account), links)
        case (.webhooks(let id), "GET"): return webhooks(try audience(id, account), links)
        case (.webhooks(let id), _): return try await addWebhook(call, try audience(id, account), links)
        case (.webhook(let id, let hook), "GET"): return try webhook(hook, try audience(id, account), links)
        case (.webhook(let id, let hook), _): return try removeWebhook(hook, try audience(id, account))
        }
    }

    func audience(_ id: String, _ account: Account) throws(Problem) -> Audience {
        guard let audience = audiences[id], audience.account == account.id else { throw .notFound }
        return audience
    }

    func slot(_ reference: String, in audience: Audience) throws(Problem) -> Int {
        guard let slot = audience.slot(reference: reference) else { throw .notFound }
        return slot
    }
}
