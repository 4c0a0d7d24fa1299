import HTTPClient
import Testing

@testable import MailchimpSandbox

/// What every call has in common: headers, overrides, errors that are asked for, refusals that look alike.
@Suite struct ProtocolTests {
    private func call(
        _ visit: Visit, _ method: String, _ path: String, _ headers: [(String, String)], _ body: JSON? = nil
    )
        async throws -> Reading
    {
        let all = [("Authorization", "Bearer \(visit.key)")] + headers
        return try await visit.call(method, path, body, headers: all.map { (name: $0.0, value: $0.1) })
    }

    @Test(
        "any error can be asked for by its title, however it is spelt",
        arguments: [
            ("BadRequest", 400), ("InvalidAction", 400), ("Invalid Resource", 400), ("JSONParseError", 400),
            ("Member Exists", 400), ("Member In Compliance State", 400), ("APIKeyMissing", 401),
            ("API Key Invalid", 401), ("forbidden", 403), ("UserDisabled", 403), ("WrongDatacenter", 403),
            ("ResourceNotFound", 404), ("Method Not Allowed", 405), ("Resource Nesting Too Deep", 414),
            ("InvalidMethodOverride", 422), ("RequestedFieldsInvalid", 422), ("TooManyRequests", 429),
            ("InternalServerError", 500), ("ComplianceRelated", 503), ("Something Else", 400),
        ])
    func triggered(title: String, status: Int) async throws {
        try await visit { visit in
            let ann: JSON = ["email_address": "ann@people.test", "status": "subscribed"]
            let reading = try await call(visit, "POST", visit.members, [("X-Trigger-Error", title)], ann)
            #expect(reading.status == status)
            #expect(try await visit.call("GET", visit.member("ann@people.test")).status == 404, "nothing was done")
        }
    }

    @Test("POST can stand for another method, and only POST can")
    func overrides() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let path = visit.member("ann@people.test")
            let patched = try await call(
                visit, "POST", path, [("X-HTTP-Method-Override", "PATCH")], ["merge_fields": ["FNAME": "Ann"]])
            #expect(patched["full_name"] == "Ann")
            #expect(try await call(visit, "GET", path, [("X-HTTP-Method-Override", "DELETE")]).status == 422)
            #expect(try await call(visit, "POST", path, [("X-HTTP-Method-Override", "MOVE")]).status == 405)
            #expect(try await call(visit, "POST", path, [("X-HTTP-Method-Override", "DELETE")]).status == 204)
        }
    }

    @Test("an answer names its request, its schema in the data centre of the account, and a page to look at")
    func headers() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let member = try await visit.call("GET", visit.member("ann@people.test"))
            let link = try #require(member.response.header("Link"))
            #expect(link.hasPrefix("<https://us3.api.mailchimp.com/schema/3.0/"))
            #expect(link.hasSuffix("rel=\"dashboard\""))
            let missing = try await visit.call("GET", "\(visit.members)/nobody@people.test")
            #expect(missing.response.header("Link")?.contains("ProblemDetailDocument") == true)
            let deleted = try await visit.call("DELETE", visit.member("ann@people.test"))
            #expect(deleted.response.header("Content-Type") == "application/json")
            let other = await visit.sandbox.addAccount(key: "other-us21")
            let root = try await visit.call("GET", "/3.0/", headers: [("Authorization", "Bearer \(other.key)")])
            let href = root["_links"].array?.first?["href"]?.string
            #expect(href?.hasPrefix("https://us21.api.mailchimp.com/") == true)
        }
    }

    @Test("credentials that contradict each other are none; a key in the query is for GET only")
    func credentials() async throws {
        try await visit { visit in
            _ = await visit.sandbox.addAccount(key: "other-us3")
            #expect(try await visit.call("GET", "/3.0/ping?apikey=\(visit.key)", headers: []).status == 200)
            #expect(try await visit.call("GET", "/3.0/ping?apikey=\(visit.key)").status == 200)
            #expect(try await visit.call("GET", "/3.0/ping?apikey=other-us3").status == 401)
            let posted = try await visit.call("POST", "\(visit.members)?apikey=\(visit.key)", [:], headers: [])
            #expect(posted.title == "API Key Missing")
            for wrong in ["Basic ???", "Basic", "Digest \(visit.key)", "Bearer"] {
                let reading = try await visit.call("GET", "/3.0/ping", headers: [("Authorization", wrong)])
                #expect(reading.title == "API Key Invalid", "\(wrong)")
            }
        }
    }

    @Test("an address that signed up to many lists is held off, one that looks fake only by a switch")
    func addresses() async throws {
        try await visit { visit in
            func create(_ address: String) async throws -> Reading {
                try await visit.call("POST", visit.members, ["email_address": .string(address), "status": "pending"])
            }
            try await visit.control("PUT", "/sandbox/throttled", ["addresses": ["Ann@people.test"]])
            let held = try await create("ann@people.test")
            #expect(held.title == "Invalid Resource")
            #expect(held["detail"].string?.contains("has signed up to a lot of lists very recently") == true)
            try await visit.control("PUT", "/sandbox/throttled", ["addresses": []])
            #expect(try await create("ann@people.test").status == 200)
            #expect(try await create("bee@example.com").status == 200)
            try await visit.control("PATCH", "/sandbox/switches", ["refuses_fake_addresses": true])
            let fake = try await create("cid@example.com")
            #expect(
                fake["detail"].string?.hasSuffix("looks fake or invalid, please enter a real email address.") == true)
        }
    }

    @Test("an account that was blocked is answered 503 with a reason and does nothing more")
    func blocked() async throws {
        try await visit { visit in
            let account = try await visit.control("GET", "/sandbox/accounts")["accounts"]?.array?.first?["id"]?.string
            let door = "/sandbox/accounts/\(try #require(account))"
            try await visit.control("PATCH", door, ["standing": "compliance_blocked"])
            let refused = try await visit.call(
                "POST", visit.members, ["email_address": "ann@people.test", "status": "subscribed"])
            #expect(refused.status == 503)
            #expect(refused.title == "ComplianceRelated")
            #expect(refused["detail"] == "This method has been disabled.")
            try await visit.control("PATCH", door, ["standing": "good"])
            #expect(try await visit.call("GET", visit.member("ann@people.test")).status == 404)
        }
    }
}
