import Testing

@testable import MailchimpSandbox

/// Which calls a fault meets.
@Suite struct FaultMatchTests {
    @Test("a fault meets the calls of its rule and no others")
    func rules() async throws {
        try await visit { visit in
            let other = await visit.sandbox.addAccount(key: "other-us3")
            let theirs = try await visit.control("GET", "/sandbox/accounts")["accounts"]?.array?.last
            let login = try #require(theirs?["login_id"]?.string)
            try await visit.make("ann@people.test", .subscribed)
            try await visit.make("bee@people.test", .subscribed)
            let ann = visit.member("ann@people.test")
            let list = "/3.0/lists/\(visit.list)"
            let bulk: JSON = [
                "members": [["email_address": "cat@people.test"], ["email_address": "Ann@people.test"]],
                "update_existing": false,
            ]
            let others: JSON = ["members": [["email_address": "cat@people.test"]]]
            let cases: [(rule: JSON, met: Attempt, passed: Attempt)] = [
                (["method": "PATCH"], Attempt("PATCH", ann), Attempt("GET", ann)),
                (["path": .string(list)], Attempt("GET", list), Attempt("GET", "\(list)/members")),
                (["path_prefix": .string("\(list)/m")], Attempt("GET", "\(list)/members"), Attempt("GET", list)),
                (["route": "/lists/{list}/members/{member}"], Attempt("GET", ann), Attempt("GET", "\(list)/members")),
                (["list": .string(visit.list)], Attempt("GET", ann), Attempt("GET", "/3.0/ping")),
                (["member": "ANN@people.test"], Attempt("GET", ann), Attempt("GET", visit.member("bee@people.test"))),
                (["member": "ann@people.test"], Attempt("POST", list, bulk), Attempt("POST", list, others)),
                (
                    ["member": "bee@people.test"],
                    Attempt("POST", "\(list)/members", ["email_address": "bee@people.test", "status": "subscribed"]),
                    Attempt("POST", "\(list)/members", ["email_address": "dee@people.test", "status": "subscribed"])
                ),
                (
                    ["query_contains": "status=archived"], Attempt("GET", "\(list)/members?status=archived"),
                    Attempt("GET", "\(list)/members")
                ),
                (
                    ["body_contains": "\"LNAME\""], Attempt("PATCH", ann, ["merge_fields": ["LNAME": "B"]]),
                    Attempt("PATCH", ann)
                ),
                (["user": .string(login)], Attempt("GET", "/3.0/ping", key: "other-us3"), Attempt("GET", "/3.0/ping")),
                (
                    ["account": .string(other.id)], Attempt("GET", "/3.0/ping", key: "other-us3"),
                    Attempt("GET", "/3.0/")
                ),
                (["method": "GET", "list": .string(visit.list)], Attempt("GET", list), Attempt("PATCH", ann)),
            ]
            for (rule, met, passed) in cases {
                try await visit.control("POST", "/sandbox/faults", ["effect": "504_html", "match": rule])
                #expect(try await met.status(visit) == 504, "\(rule)")
                #expect(try await passed.status(visit) != 504, "\(rule)")
                try await visit.control("DELETE", "/sandbox/faults")
            }
        }
    }

    /// A call to be made.
    private struct Attempt {
        let method: String
        let path: String
        let body: JSON?
        let key: String?

        init(_ method: String, _ path: String, _ body: JSON? = nil, key: String? = nil) {
            (self.method, self.path, self.body, self.key) = (method, path, body, key)
        }

        func status(_ visit: Visit) async throws -> Int {
            let headers = [(name: "Authorization", value: "Bearer \(key ?? visit.key)")]
            return try await visit.call(method, path, body, headers: headers).status
        }
    }
}
