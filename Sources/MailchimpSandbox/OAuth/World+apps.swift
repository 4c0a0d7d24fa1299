/// Apps, through the control door.
extension World {
    func appsDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count) {
        case ("GET", 1): return ["apps": .list(oauthBook.apps.map { json($0) })]
        case ("POST", 1): return try registerApp(try call.object())
        case ("PATCH", 2): return try changeApp(call.segments[1], try call.object())
        case ("DELETE", 2):
            accounts.revokeTokens(of: call.segments[1])
            oauthBook.remove(call.segments[1])
            return ["deleted": .string(call.segments[1])]
        default: throw .notFound
        }
    }

    /// Registers an app; what is not given is made up.
    func addApp(id: String?, secret: String?, redirectURI: String) -> OAuthApp {
        let app = OAuthApp(
            id: id ?? String(newWebID()), secret: secret ?? HexID(random: &generator).hex, redirectURI: redirectURI)
        oauthBook.put(app)
        return app
    }

    private func registerApp(_ body: JSONObject) throws(Problem) -> JSON {
        guard let uri = body["redirect_uri"]?.string, !uri.isEmpty else { throw Self.wrong("Give a redirect_uri.") }
        return json(
            addApp(id: body["client_id"]?.string, secret: body["client_secret"]?.string, redirectURI: uri))
    }

    /// Gives an app another secret or address; the former ones are no good from now on.
    private func changeApp(_ id: String, _ body: JSONObject) throws(Problem) -> JSON {
        guard var app = oauthBook.app(id) else { throw Problem(404, "Not Found", "There is no app \(id).") }
        if let secret = body["client_secret"]?.string { app.secret = secret }
        if let uri = body["redirect_uri"]?.string { app.redirectURI = uri }
        oauthBook.put(app)
        return json(app)
    }

    private func json(_ app: OAuthApp) -> JSON {
        let tokens = accounts.all.flatMap(\.users).flatMap(\.tokens).filter { $0.app == app.id }
        return [
            "client_id": .string(app.id), "client_secret": .string(app.secret),
            "redirect_uri": .string(app.redirectURI), "tokens": .strings(tokens.map(\.value)),
        ]
    }
}
