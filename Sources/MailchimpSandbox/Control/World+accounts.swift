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
        case (_, 3...4) where call.segments[2] == "users": return try usersDoor(call)
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
            _ = removeList(audience)
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
        let account = try controlledAccount(id)
        if let text = body["standing"]?.string {
            guard let standing = Account.Standing(rawValue: text) else {
                let known = Account.Standing.allCases.map(\.rawValue).joined(separator: ", ")
                throw Self.wrong("A standing is one of \(known).")
            }
            accounts.set(standing, of: id)
        }
        if let key = body["add_key"]?.string, let owner = account.users.first {
            accounts.add(key: key, to: owner.id, in: id)
        }
        try revoke(body)
        return accounts.account(id: id).map { json($0) } ?? .null
    }

    private func controlledAccount(_ id: String) throws(Problem) -> Account {
        guard let account = accounts.account(id: id) else {
            throw Problem(404, "Not Found", "There is no account \(id).")
        }
        return account
    }

    /// Ends a key or a token.
    private func revoke(_ body: JSONObject) throws(Problem) {
        for name in ["revoke_key", "revoke_token"] {
            guard let credential = body[name]?.string else { continue }
            guard accounts.owner(of: credential) != nil else { throw Self.wrong("There is no such key or token.") }
            accounts.revoke(credential)
        }
    }

    private func usersDoor(_ call: Call) throws(Problem) -> JSON {
        let account = try controlledAccount(call.segments[1])
        let user = call.segments.count == 4 ? account.user(id: call.segments[3]) : nil
        switch (call.method, user) {
        case ("POST", nil) where call.segments.count == 3:
            let body = try call.object()
            let made = newUser(
                name: body["name"]?.string ?? "Colleague", email: body["email"]?.string,
                role: try role(body) ?? .admin, key: body["key"]?.string ?? newKey(account.dataCentre))
            accounts.add(made, to: account.id)
            return json(made)
        case ("PATCH", let user?):
            let body = try call.object()
            if let role = try role(body) { accounts.set(role, of: user.id, in: account.id) }
            if let key = body["add_key"]?.string { accounts.add(key: key, to: user.id, in: account.id) }
            try revoke(body)
            return accounts.account(id: account.id)?.user(id: user.id).map { json($0) } ?? .null
        case ("DELETE", let user?):
            accounts.remove(user.id, from: account.id)
            return ["deleted": .string(user.id)]
        default: throw .notFound
        }
    }

    private func role(_ body: JSONObject) throws(Problem) -> User.Role? {
        guard let text = body["role"]?.string else { return nil }
        guard let role = User.Role(rawValue: text) else {
            throw Self.wrong("A role is one of \(User.Role.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
        return role
    }

    private func json(_ user: User) -> JSON {
        [
            "id": .string(user.id), "name": .string(user.name), "email": .string(user.email),
            "role": .string(user.role.rawValue), "keys": .strings(user.keys),
            "tokens": .strings(user.tokens.map(\.value)),
        ]
    }

    func json(_ account: Account) -> JSON {
        [
            "id": .string(account.id), "login_id": .string(account.users.first?.id ?? ""),
            "name": .string(account.name), "users": .list(account.users.map { json($0) }),
            "keys": .strings(account.keys), "data_centre": .string(account.dataCentre),
            "standing": .string(account.standing.rawValue), "lists": .strings(lists(of: account.id).map(\.id)),
        ]
    }

    func json(_ audience: Audience) -> JSON {
        var counts = JSONObject()
        for status in MemberStatus.allCases { counts.append(status.rawValue, .integer(audience.count[status] ?? 0)) }
        let hooks = audience.webhooks.map { hook -> JSON in
            [
                "id": .string(hook.id), "url": .string(hook.url), "events": .strings(hook.events.sorted()),
                "sources": .strings(hook.sources.sorted()), "failures": .integer(hook.failures),
                "signed": .bool(hook.secret != nil),
                "disabled": hook.disabled.map { .string($0) } ?? .null,
            ]
        }
        return [
            "id": .string(audience.id), "name": .string(audience.settings.name), "account": .string(audience.account),
            "double_optin": .bool(audience.settings.isDoubleOptIn), "members": .object(counts),
            "forgotten": .integer(audience.forgotten.count), "merge_fields": .strings(audience.mergeFields.map(\.tag)),
            "webhooks": .array(hooks),
        ]
    }
}
