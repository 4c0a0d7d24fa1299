/// Accounts and lists through the control door.
extension World {
    func accountsDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count) {
        case ("GET", 1): return ["accounts": .list(accounts.all.map { json($0) })]
        case ("POST", 1):
            let body = try call.object()
            let account = addAccount(
                key: body["key"]?.string, name: body["name"]?.string ?? "Sandbox",
                dataCentre: body["data_centre"]?.string)
            return json(account)
        case ("PATCH", 2): return try changeAccount(call.segments[1], try call.object())
        default: throw .notFound
        }
    }

    func listsDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count) {
        case ("GET", 1): return ["lists": .list(listOrder.compactMap { audiences[$0].map { json($0) } })]
        case ("POST", 1): return try makeList(try call.object())
        case ("GET", 2): return json(try controlledList(call.segments[1]))
        case ("DELETE", 2):
            let audience = try controlledList(call.segments[1])
            audiences[audience.id] = nil
            listOrder.removeAll { $0 == audience.id }
            return ["deleted": .string(audience.id)]
        default: throw .notFound
        }
    }

    private func makeList(_ body: JSONObject) throws(Problem) -> JSON {
        guard let name = body["name"]?.string else { throw Self.wrong("A list needs a name.") }
        let owner = body["account"]?.string.flatMap { accounts.account(id: $0) } ?? accounts.all.first
        guard let owner else { throw Self.wrong("There is no account to own the list.") }
        return json(addList(name: name, account: owner.id, isDoubleOptIn: body["double_optin"]?.bool ?? false))
    }

    private func changeAccount(_ id: String, _ body: JSONObject) throws(Problem) -> JSON {
        guard accounts.account(id: id) != nil else { throw Problem(404, "Not Found", "There is no account \(id).") }
        if let text = body["standing"]?.string {
            guard let standing = Account.Standing(rawValue: text) else {
                let known = Account.Standing.allCases.map(\.rawValue).joined(separator: ", ")
                throw Self.wrong("A standing is one of \(known).")
            }
            accounts.set(standing, of: id)
        }
        if let key = body["add_key"]?.string { accounts.add(key: key, to: id) }
        if let key = body["revoke_key"]?.string { accounts.revoke(key: key) }
        return accounts.account(id: id).map { json($0) } ?? .null
    }

    private func json(_ account: Account) -> JSON {
        [
            "id": .string(account.id), "login_id": .string(account.loginID), "name": .string(account.name),
            "keys": .strings(account.keys), "data_centre": .string(account.dataCentre),
            "standing": .string(account.standing.rawValue), "lists": .strings(lists(of: account.id).map(\.id)),
        ]
    }

    private func json(_ audience: Audience) -> JSON {
        var counts = JSONObject()
        for status in MemberStatus.allCases { counts.append(status.rawValue, .integer(audience.count[status] ?? 0)) }
        let hooks = audience.webhooks.map { hook -> JSON in
            [
                "id": .string(hook.id), "url": .string(hook.url), "events": .strings(hook.events.sorted()),
                "sources": .strings(hook.sources.sorted()), "failures": .integer(hook.failures),
                "disabled": hook.disabled.map { .string($0) } ?? .null,
            ]
        }
        return [
            "id": .string(audience.id), "name": .string(audience.name), "account": .string(audience.account),
            "double_optin": .bool(audience.isDoubleOptIn), "members": .object(counts),
            "forgotten": .integer(audience.forgotten.count), "merge_fields": .strings(audience.mergeFields.map(\.tag)),
            "webhooks": .array(hooks),
        ]
    }
}
