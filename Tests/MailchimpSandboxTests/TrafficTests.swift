import HTTPClient
import TestSupport
import Testing

@testable import MailchimpSandbox

/// Credentials, limits, the log and latency.
@Suite struct TrafficTests {
    @Test("a key is taken as Basic and as Bearer, and nothing else is let in")
    func authentication() async throws {
        try await visit { visit in
            // "any:" and the key, in base 64.
            let basic = "YW55OjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAxLXVzMw=="
            for value in ["Basic \(basic)", "Bearer \(visit.key)", "apikey \(visit.key)"] {
                #expect(try await visit.call("GET", "/3.0/ping", headers: [("Authorization", value)]).status == 200)
            }
            let wrong = try await visit.call("GET", "/3.0/ping", headers: [("Authorization", "Bearer nobody-us3")])
            #expect(wrong.status == 401)
            #expect(wrong.title == "API Key Invalid")
            #expect(wrong.response.header("Content-Type")?.hasPrefix("application/problem+json") == true)
            #expect(try await visit.call("GET", "/3.0/ping", headers: []).title == "API Key Missing")
            let accounts = try await visit.control("GET", "/sandbox/accounts")
            let id = try #require(accounts["accounts"]?.array?.first?["id"]?.string)
            try await visit.control("PATCH", "/sandbox/accounts/\(id)", ["standing": "user_disabled"])
            #expect(try await visit.call("GET", "/3.0/").title == "User Disabled")
            try await visit.control("PATCH", "/sandbox/accounts/\(id)", ["standing": "compliance_blocked"])
            #expect(try await visit.call("GET", "/3.0/").status == 503)
        }
    }

    @Test("a list of another account is not there")
    func accounts() async throws {
        try await visit { visit in
            let other = await visit.sandbox.addAccount(key: "other-us9")
            let list = await visit.sandbox.addList(name: "Theirs", account: other.id)
            #expect(try await visit.call("GET", "/3.0/lists/\(list)").status == 404)
            let theirs = try await visit.call("GET", "/3.0/lists", headers: [("Authorization", "Bearer other-us9")])
            #expect(theirs["lists"].array?.compactMap { $0["name"]?.string } == ["Theirs"])
        }
    }

    @Test("methods that a resource does not have are answered with those that it has")
    func methods() async throws {
        try await visit { visit in
            let reading = try await visit.call("DELETE", "/3.0/lists/\(visit.list)/members")
            #expect(reading.status == 405)
            #expect(reading.response.header("Allow") == "GET, POST")
            #expect(try await visit.call("GET", "/3.0/nothing").status == 404)
            let bare = try await visit.call("GET", "/3.0")
            #expect(bare.status == 301)
            #expect(bare.response.header("Location") == "/3.0/")
            let deep = try await visit.call("GET", "/3.0/a/b/c/d/e/f/g/h/i")
            #expect(deep.status == 414)
            #expect(deep.title == "Resource Nesting Too Deep")
            let headers = [("Authorization", "Bearer \(visit.key)"), ("X-Trigger-Error", "TooManyRequests")]
            #expect(
                try await visit.call("GET", "/3.0/ping", headers: headers.map { (name: $0.0, value: $0.1) }).status
                    == 429)
        }
    }

    @Test("the eleventh call in flight of one user is refused, over all of his keys; another user's is not")
    func connections() async throws {
        try await visit(connections: 20) { visit in
            let accounts = try await visit.control("GET", "/sandbox/accounts")
            let id = try #require(accounts["accounts"]?.array?.first?["id"]?.string)
            try await visit.control("PATCH", "/sandbox/accounts/\(id)", ["add_key": "second-us3"])
            _ = await visit.sandbox.addAccount(key: "other-us3")
            try await visit.control("POST", "/sandbox/faults", ["effect": "hang", "milliseconds": 60_000, "count": 10])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<10 { group.addTask { _ = try? await visit.call("GET", "/3.0/ping") } }
                try await eventually("ten calls in flight") {
                    let audit = try await visit.control("GET", "/sandbox/audit")
                    return audit["in_flight"]?.object?.pairs.contains { $0.value == 10 } ?? false
                }
                let eleventh = try await visit.call(
                    "GET", "/3.0/ping", headers: [("Authorization", "Bearer second-us3")])
                #expect(eleventh.status == 429)
                #expect(eleventh["detail"] == "You have exceeded the limit of 10 simultaneous connections.")
                let other = try await visit.call("GET", "/3.0/ping", headers: [("Authorization", "Bearer other-us3")])
                #expect(other.status == 200)
                group.cancelAll()
            }
            let audit = try await visit.control("GET", "/sandbox/audit")
            #expect(audit["most_in_flight"]?.object?.pairs.compactMap(\.value.integer).max() == 11)
        }
    }

    @Test("every request is logged and counted until the log is reset")
    func log() async throws {
        try await visit({ $0.requestsKept = 5 }) { visit in
            for _ in 0..<8 { try await visit.call("GET", "/3.0/ping") }
            try await visit.make("ann@people.test", .subscribed)
            let log = try await visit.control("GET", "/sandbox/requests")
            #expect(log["requests"]?.array?.count == 5)
            #expect(log["total"] == 9)
            let last = try #require(log["requests"]?.array?.last)
            #expect(last["route"] == "/lists/{list}/members")
            #expect(last["status"] == 200)
            #expect(last["sequence"] == 9)
            let counts = try await visit.control("GET", "/sandbox/requests/counts")
            #expect(
                counts["counts"]?.array?.contains(["method": "GET", "route": "/ping", "status": 200, "count": 8])
                    == true)
            try await visit.control("DELETE", "/sandbox/requests")
            #expect(try await visit.control("GET", "/sandbox/requests")["total"] == 0)
        }
    }

    @Test("latency is for each kind of call, and for each member of bulk calls and pages")
    func latency() async throws {
        try await visit { visit in
            try await visit.control("PUT", "/sandbox/latency", ["bulk": 30, "bulk_member": 10])
            let members = (0..<5).map { number -> JSON in
                ["email_address": "p\(number)@people.test", "status": "subscribed"]
            }
            let spent = try await ContinuousClock().measure {
                try await visit.call("POST", "/3.0/lists/\(visit.list)", ["members": .array(members)])
            }
            #expect(spent >= .milliseconds(80))
        }
    }
}
