import HTTPTypes

/// OAuth2, as login.mailchimp.com has it: a page for the user, a code, a token that never ends.
extension World {
    static let oauthPrefix = "/oauth2"

    func oauth(_ call: Call) -> Reply {
        switch (call.method, call.segments) {
        case ("GET", ["authorize"]): authorize(call.query)
        case ("POST", ["authorize"]): consent(call.form)
        case ("POST", ["token"]): token(call.form)
        case ("GET", ["metadata"]): metadata(call)
        default: Reply.problem(.notFound, call, links: nil)
        }
    }

    private func authorize(_ request: Query) -> Reply {
        switch checked(request) {
        case .failure(let refusal): return refusal.reply
        case .success:
            let names = ["response_type", "client_id", "redirect_uri", "state"]
            let fields = names.compactMap { name in request[name].map { (name, $0) } }
            return .text(200, Self.html, AuthorizePage.ask(fields, of: accounts.all))
        }
    }

    /// What the user answered on the page.
    private func consent(_ form: Query) -> Reply {
        switch checked(form) {
        case .failure(let refusal): return refusal.reply
        case .success(let app):
            let asked = accounts.all.lazy.compactMap { account in
                account.user(id: form["user"] ?? "").map { (account.id, $0.id) }
            }
            guard let (account, user) = asked.first else {
                return .text(400, Self.html, AuthorizePage.refuse("There is no such user."))
            }
            guard form["answer"] != "deny" else { return Self.back(app, form, [("error", "access_denied")]) }
            let code = HexID(random: &generator).hex
            oauthBook.allow(
                OAuthBook.Grant(app: app.id, account: account, user: user, expires: now() + OAuthBook.codeLifetime),
                code: code, at: now())
            return Self.back(app, form, [("code", code)])
        }
    }

    private func token(_ form: Query) -> Reply {
        guard let app = oauthBook.app(form["client_id"] ?? ""), app.secret == form["client_secret"] else {
            return Self.refusal(401, "invalid_client", "The client_id or the client_secret is wrong.")
        }
        guard form["grant_type"] == "authorization_code" else {
            return Self.refusal(400, "unsupported_grant_type", "The grant_type is authorization_code.")
        }
        guard app.redirectURI == form["redirect_uri"] else {
            return Self.refusal(400, "invalid_grant", "The redirect_uri is not that of the app.")
        }
        guard let grant = oauthBook.redeem(form["code"] ?? "", by: app.id, at: now()) else {
            return Self.refusal(400, "invalid_grant", "The code is wrong, used or too old.")
        }
        let token = User.Token(value: HexID(random: &generator).hex, app: app.id)
        accounts.add(token, to: grant.user, in: grant.account)
        return .json(["access_token": .string(token.value), "expires_in": 0, "scope": .null])
    }

    /// Where a token's account is; the answer to a wrong token is 200 too.
    private func metadata(_ call: Call) -> Reply {
        let words = (call.authorization ?? "").split(separator: " ", maxSplits: 1)
        guard words.count == 2, let (account, user) = accounts.owner(of: String(words[1].trimming)),
            user.tokens.contains(where: { $0.value == words[1].trimming })
        else { return .json(["error": "invalid_token"]) }
        let login: JSON = [
            "email": .string(user.email), "avatar": .null, "login_id": .integer(Int(user.id) ?? 0),
            "login_name": .string(user.loginName), "login_email": .string(user.email),
        ]
        return .json([
            "dc": .string(account.dataCentre), "role": .string(user.role.rawValue),
            "accountname": .string(account.name), "user_id": .integer(Int(account.users.first?.id ?? "") ?? 0),
            "login": login,
            "login_url": "https://login.mailchimp.com",
            "api_endpoint": .string("https://\(account.dataCentre).api.mailchimp.com"),
        ])
    }

    private static let html = "text/html; charset=utf-8"

    /// Why a request of an app is refused, and how.
    private struct Refusal: Error {
        let reply: Reply
    }

    /// The app of a request; one whose app or address is wrong must not send the browser anywhere.
    private func checked(_ request: Query) -> Result<OAuthApp, Refusal> {
        guard let app = oauthBook.app(request["client_id"] ?? "") else {
            return .failure(Refusal(reply: .text(400, Self.html, AuthorizePage.refuse("The client_id is unknown."))))
        }
        guard request["redirect_uri"] == app.redirectURI else {
            let reason = "The redirect_uri is not that of the app."
            return .failure(Refusal(reply: .text(400, Self.html, AuthorizePage.refuse(reason))))
        }
        guard request["response_type"] == "code" else {
            return .failure(Refusal(reply: Self.back(app, request, [("error", "unsupported_response_type")])))
        }
        return .success(app)
    }

    /// Sends the browser back to the app.
    private static func back(_ app: OAuthApp, _ request: Query, _ answer: [(name: String, value: String)]) -> Reply {
        let fields = answer + (request["state"].map { [("state", $0)] } ?? [])
        let query = fields.map { "\($0.0)=\(PercentCoding.encode($0.1))" }.joined(separator: "&")
        let target = app.redirectURI + (app.redirectURI.contains("?") ? "&" : "?") + query
        return Reply(status: 302, fields: [.location: target, .cacheControl: "no-store"])
    }

    private static func refusal(_ status: Int, _ error: String, _ description: String) -> Reply {
        var reply = Reply.json(["error": .string(error), "error_description": .string(description)])
        reply.status = status
        return reply
    }
}
