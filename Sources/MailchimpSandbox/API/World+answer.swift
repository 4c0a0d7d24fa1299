extension World {
    /// What an object can have and need not have, so that asking for it is no mistake.
    private static let conditionalFields: Set<String> = [
        "interests", "last_note", "marketing_permissions", "unsubscribe_reason",
    ]

    /// Answers a call of the Marketing API that has been admitted.
    func answer(_ call: Call, to endpoint: Endpoint) async throws(Problem) -> Answer {
        guard endpoint.methods.contains(call.method) else { throw .notAllowed(endpoint.methods) }
        guard let account = call.account else { throw .keyMissing }
        if switches.refusesBothFieldLists, call.query["fields"] != nil, call.query["exclude_fields"] != nil {
            throw .bothFieldLists
        }
        let answer = try await carryOut(call, endpoint, account)
        guard switches.refusesUnknownFields, call.method == "GET", let body = answer.body?.object else { return answer }
        let asked = FieldSelection(fields: call.query["fields"], excluding: nil).roots
        let known = Self.conditionalFields.union(body.pairs.map(\.key))
        guard asked.isSubset(of: known) else { throw .unknownFields(asked.subtracting(known).sorted()) }
        return answer
    }

    private func carryOut(_ call: Call, _ endpoint: Endpoint, _ account: Account) async throws(Problem) -> Answer {
        let links = Links(account: account)
        switch (endpoint, call.method) {
        case (.root, _): return root(account, call.user, links)
        case (.ping, _): return .ok(["health_status": "Everything's Chimpy!"], schema: "Ping")
        case (.batches, "GET"): return try listBatches(call, account, links)
        case (.batches, _): return try addBatch(call, account, links)
        case (.batch(let id), "GET"): return try batch(id, call, account, links)
        case (.batch(let id), _): return try removeBatch(id, account)
        case (.lists, "GET"): return try lists(call, account, links)
        case (.lists, _): return try addList(call, account, links)
        default: return try await answer(call, to: endpoint, try audience(endpoint.subject.list, account), links)
        }
    }

    private func answer(_ call: Call, to endpoint: Endpoint, _ audience: Audience, _ links: Links)
        async throws(Problem) -> Answer
    {
        let selection = FieldSelection(fields: call.query["fields"], excluding: call.query["exclude_fields"])
        switch (endpoint, call.method) {
        case (.list, "GET"): return list(call, audience, links)
        case (.list, "POST"): return try bulk(call, audience, links, selection)
        case (.list, "PATCH"): return try changeList(call, audience, links)
        case (.list, _): return removeList(audience)
        case (.members, "GET"): return try members(call, audience, links, selection)
        case (.members, _): return try create(call, audience, links)
        case (.member(_, let member), "GET"): return try self.member(member, audience, links)
        case (.member(_, let member), "PUT"): return try upsert(call, member, audience, links)
        case (.member(_, let member), "PATCH"): return try update(call, member, audience, links)
        case (.member(_, let member), _): return try archive(member, audience)
        case (.activity(_, let member), _): return try activity(call, member, audience, links)
        case (.memberTags(_, let member), "GET"): return try tags(call, member, audience, links)
        case (.memberTags(_, let member), _): return try changeTags(call, member, audience)
        case (.deletePermanent(_, let member), _): return try deletePermanently(member, audience)
        case (.tagSearch, _): return searchTags(call, audience)
        case (.segments, "GET"): return try segments(call, audience, links)
        case (.segments, _): return try addSegment(call, audience, links)
        case (.segment(_, let id), "GET"): return try segment(call, id, audience, links)
        case (.segment(_, let id), "POST"): return try changeSegmentMembers(call, id, audience, links)
        case (.segment(_, let id), "PATCH"): return try changeSegment(call, id, audience, links)
        case (.segment(_, let id), _): return try removeSegment(id, audience)
        case (.segmentMembers(_, let id), "GET"): return try segmentMembers(call, id, audience, links)
        case (.segmentMembers(_, let id), _): return try addSegmentMember(call, id, audience, links)
        case (.segmentMember(_, let id, let member), _): return try removeSegmentMember(call, id, member, audience)
        case (.categories, "GET"): return try categories(call, audience, links)
        case (.categories, _): return try addCategory(call, audience, links)
        case (.category(_, let id), "GET"): return try category(id, audience, links)
        case (.category(_, let id), "PATCH"): return try changeCategory(call, id, audience, links)
        case (.category(_, let id), _): return try removeCategory(id, audience)
        case (.interests(_, let category), "GET"): return try interests(call, category, audience, links)
        case (.interests(_, let category), _): return try addInterest(call, category, audience, links)
        case (.interest(_, let category, let id), "GET"): return try interest(id, of: category, audience, links)
        case (.interest(_, let category, let id), "PATCH"):
            return try changeInterest(call, id, of: category, audience, links)
        case (.interest(_, let category, let id), _): return try removeInterest(id, of: category, audience)
        case (.mergeFields, "GET"): return try mergeFields(call, audience, links)
        case (.mergeFields, _): return try addMergeField(call, audience, links)
        case (.mergeField(_, let field), "GET"): return try mergeField(field, audience, links)
        case (.mergeField(_, let field), "PATCH"): return try changeMergeField(call, field, audience, links)
        case (.mergeField(_, let field), _): return try removeMergeField(field, audience)
        case (.webhooks, "GET"): return webhooks(audience, links)
        case (.webhooks, _): return try await addWebhook(call, audience, links)
        case (.webhook(_, let hook), "GET"): return try webhook(hook, audience, links)
        case (.webhook(_, let hook), "PATCH"): return try await changeWebhook(call, hook, audience, links)
        case (.webhook(_, let hook), _): return try removeWebhook(hook, audience)
        case (.root, _), (.ping, _), (.lists, _), (.batches, _), (.batch, _): throw .notFound
        }
    }

    func audience(_ id: String?, _ account: Account) throws(Problem) -> Audience {
        guard let audience = id.flatMap({ audiences[$0] }), audience.account == account.id else { throw .notFound }
        return audience
    }

    func slot(_ reference: String, in audience: Audience) throws(Problem) -> Int {
        guard let slot = audience.slot(reference: reference) else { throw .notFound }
        return slot
    }
}
