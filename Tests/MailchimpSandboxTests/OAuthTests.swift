import HTTPClient
import TestSupport
import Testing

@testable import MailchimpSandbox

/// Access that a user gives to an app.
@Suite struct OAuthTests {
    private static let back = "http://127.0.0.1:9/back?here=1"

    /// What stands in the hidden fields of a page's first form, with their values as the browser would send them.
    private func hidden(_ page: String) -> [(String, String)] {
        let form = page.split(separator: "</form>").first ?? ""
        return form.matches(of: #/type="hidden" name="([^"]*)" value="([^"]*)"/#).map { match in
            let value = String(match.2).replacing("&amp;", with: "&").replacing("&quot;", with: "\"")
                .replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&#39;", with: "'")
            return (String(match.1), value)
        }
    }

    private func body(_ fields: [(String, String)]) -> [UInt8] {
        Array(fields.map { "\($0.0)=\(PercentCoding.encode($0.1))" }.joined(separator: "&").utf8)
    }

    private func post(_ visit: Visit, _ path: String, _ fields: [(String, String)]) async throws -> Reading {
        try await visit.send(
            "POST", path, body(fields), headers: [("Content-Type", "application/x-www-form-urlencoded")])
    }

    private func ask(_ visit: Visit, _ client: String, back: String = back, type: String = "code") async throws
        -> Reading
    {
        let query = [("response_type", type), ("client_id", client), ("redirect_uri", back), ("state", "a&\"<b")]
        return try await visit.call("GET", "/oauth2/authorize?" + String(decoding: body(query), as: UTF8.self))
    }

    /// The page, its button, and the parameters with which the browser comes back.
    private func answer(_ visit: Visit, _ client: String, _ answer: String = "allow") async throws -> Query {
        let page = try await ask(visit, client)
        #expect(page.status == 200)
        #expect(page.response.header("Content-Type")?.hasPrefix("text/html") == true)
        let fields = hidden(String(decoding: page.response.body, as: UTF8.self)) + [("answer", answer)]
        let redirect = try await post(visit, "/oauth2/authorize", fields)
        #expect(redirect.status == 302)
        let target = try #require(redirect.response.header("Location"))
        #expect(target.hasPrefix(Self.back + "&"))
        return Query(String(target.dropFirst(Self.back.count + 1)))
    }

    private func redeem(_ visit: Visit, _ app: (id: String, secret: String), _ code: String, back: String = back)
        async throws -> Reading
    {
        try await post(
            visit, "/oauth2/token",
            [
                ("grant_type", "authorization_code"), ("client_id", app.id), ("client_secret", app.secret),
                ("redirect_uri", back), ("code", code),
            ])
    }

    private func metadata(_ visit: Visit, _ token: String) async throws -> Reading {
        try await visit.call("GET", "/oauth2/metadata", headers: [("Authorization", "OAuth \(token)")])
    }

    @Test("a page, a code, a token that the API takes, and the data centre it is for")
    func wholeWay() async throws {
        try await visit { visit in
            let app = await visit.sandbox.addApp(redirectURI: Self.back)
            let query = try await answer(visit, app.id)
            #expect(query["state"] == "a&\"<b")
            let answer = try await redeem(visit, app, try #require(query["code"]))
            #expect(answer.status == 200)
            #expect(answer["expires_in"] == 0)
            #expect(answer["scope"] == .null)
            let token = try #require(answer["access_token"].string)
            let about = try await metadata(visit, token)
            #expect(about["dc"] == "us3")
            #expect(about["api_endpoint"] == "https://us3.api.mailchimp.com")
            for scheme in ["Bearer", "OAuth"] {
                let root = try await visit.call("GET", "/3.0/", headers: [("Authorization", "\(scheme) \(token)")])
                #expect(root.status == 200)
                #expect(root["login_id"].string == about["login"]["login_id"]?.integer.map(String.init))
            }
        }
    }

    @Test("a code is good once, for ten minutes, for its own app and address")
    func codes() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            let app = await visit.sandbox.addApp(redirectURI: Self.back)
            let other = await visit.sandbox.addApp(redirectURI: Self.back)
            func code() async throws -> String { try #require(try await answer(visit, app.id)["code"]) }
            let used = try await code()
            #expect(try await redeem(visit, app, used).status == 200)
            #expect(try await redeem(visit, app, used)["error"] == "invalid_grant")
            #expect(try await redeem(visit, other, try await code())["error"] == "invalid_grant")
            #expect(try await redeem(visit, app, try await code(), back: "http://else/")["error"] == "invalid_grant")
            let wrong = try await redeem(visit, (app.id, "wrong"), try await code())
            #expect(wrong.status == 401)
            let young = try await code()
            clock.advance(599)
            #expect(try await redeem(visit, app, young).status == 200)
            let old = try await code()
            clock.advance(600)
            #expect(try await redeem(visit, app, old)["error"] == "invalid_grant")
        }
    }

    @Test("who says no is sent back with it; an app or an address that is not known gets no answer")
    func refusals() async throws {
        try await visit { visit in
            let app = await visit.sandbox.addApp(redirectURI: Self.back)
            let denied = try await answer(visit, app.id, "deny")
            #expect(denied["error"] == "access_denied")
            #expect(denied["code"] == nil)
            #expect(try await ask(visit, "nobody").status == 400)
            let elsewhere = try await ask(visit, app.id, back: "http://evil.test/")
            #expect(elsewhere.status == 400)
            #expect(elsewhere.response.header("Location") == nil)
            #expect(try await ask(visit, app.id, type: "token").status == 302)
        }
    }

    @Test("metadata answers 200 to a token that is wrong, revoked or a key, without an endpoint")
    func metadataOfNothing() async throws {
        try await visit { visit in
            let app = await visit.sandbox.addApp(redirectURI: Self.back)
            let code = try #require(try await answer(visit, app.id)["code"])
            let token = try #require(try await redeem(visit, app, code)["access_token"].string)
            let account = try await visit.control("GET", "/sandbox/accounts")["accounts"]?.array?.first?["id"]?.string
            try await visit.control(
                "PATCH", "/sandbox/accounts/\(try #require(account))", ["revoke_token": .string(token)])
            for wrong in [token, "nonsense", visit.key] {
                let about = try await metadata(visit, wrong)
                #expect(about.status == 200)
                #expect(about.json == ["error": "invalid_token"])
            }
            let call = try await visit.call("GET", "/3.0/ping", headers: [("Authorization", "Bearer \(token)")])
            #expect(call.title == "API Key Invalid")
        }
    }

    @Test("another secret ends the former one; an app that is gone takes its tokens along")
    func rotation() async throws {
        try await visit { visit in
            let app = await visit.sandbox.addApp(id: "app", secret: "old", redirectURI: Self.back)
            let code = try #require(try await answer(visit, app.id)["code"])
            try await visit.control("PATCH", "/sandbox/apps/app", ["client_secret": "new"])
            #expect(try await redeem(visit, app, code).status == 401)
            let token = try #require(try await redeem(visit, (app.id, "new"), code)["access_token"].string)
            let headers = [(name: "Authorization", value: "Bearer \(token)")]
            #expect(try await visit.call("GET", "/3.0/ping", headers: headers).status == 200)
            try await visit.control("DELETE", "/sandbox/apps/app")
            #expect(try await visit.call("GET", "/3.0/ping", headers: headers).status == 401)
        }
    }

    @Test("a user's keys and tokens share his connections, another user of the account has his own")
    func users() async throws {
        try await visit({ $0.connectionsPerUser = 1 }, connections: 10) { visit in
            let app = await visit.sandbox.addApp(redirectURI: Self.back)
            let code = try #require(try await answer(visit, app.id)["code"])
            let token = try #require(try await redeem(visit, app, code)["access_token"].string)
            let colleague = await visit.sandbox.addUser(name: "Bee Keeper")
            func status(_ key: String) async throws -> Reading {
                try await visit.call("GET", "/3.0/", headers: [("Authorization", "Bearer \(key)")])
            }
            try await visit.control("POST", "/sandbox/faults", ["effect": "hang", "milliseconds": 60_000, "count": 1])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await visit.call("GET", "/3.0/ping") }
                try await eventually("a call in flight") {
                    let audit = try await visit.control("GET", "/sandbox/audit")
                    return audit["in_flight"]?.object?.pairs.contains { $0.value == 1 } ?? false
                }
                #expect(try await status(token).status == 429)
                let theirs = try await status(colleague.key)
                #expect(theirs.status == 200)
                #expect(theirs["first_name"] == "Bee")
                #expect(theirs["login_id"] == .string(colleague.id))
                group.cancelAll()
            }
            let id = try await visit.control("GET", "/sandbox/accounts")["accounts"]?.array?.first?["id"]?.string
            let door = "/sandbox/accounts/\(try #require(id))/users/\(colleague.id)"
            try await visit.control("PATCH", door, ["role": "viewer"])
            #expect(try await status(colleague.key).title == "Forbidden")
            try await visit.control("DELETE", door)
            #expect(try await status(colleague.key).title == "API Key Invalid")
        }
    }
}
