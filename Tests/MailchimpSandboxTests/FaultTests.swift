import HTTPClient
import TestSupport
import Testing

@testable import MailchimpSandbox

/// What a caller sees of each fault, and what it leaves behind.
@Suite struct FaultTests {
    @Test("what stands in for an answer has its status and its body, whether the work was done or not")
    func standIns() async throws {
        try await visit { visit in
            for (effect, status, beginning) in [
                ("429", 429, "{\"type\""), ("429_empty", 429, ""), ("403_html", 403, "<HTML>"), ("404_empty", 404, ""),
                ("500", 500, "{\"type\":\"about:blank\""), ("502_html", 502, "<html>"), ("503", 503, ""),
                ("503_akamai", 503, "{\"type\":\"akamai"), ("compliance", 503, "{\"type\""),
                ("contact_limit", 400, "{\"type\""), ("504_html", 504, "<html>"),
            ] {
                for (when, isDone) in [("before", false), ("after", true), ("", false)] {
                    let address = "\(effect).\(when.isEmpty ? "none" : when)@people.test"
                    var rule: JSONObject = ["effect": .string(effect), "count": 1]
                    if !when.isEmpty { rule.append("when", .string(when)) }
                    try await visit.control("POST", "/sandbox/faults", .object(rule))
                    let reading = try await visit.add(address)
                    let body = String(decoding: reading.response.body, as: UTF8.self)
                    #expect(reading.status == status, "\(effect) \(when)")
                    #expect(beginning.isEmpty ? body.isEmpty : body.hasPrefix(beginning), "\(effect) \(when): \(body)")
                    let found = try await visit.call("GET", visit.member(address)).status
                    #expect(found == (isDone ? 200 : 404), "\(effect) \(when)")
                }
            }
            #expect(try await visit.call("GET", "/3.0/ping").status == 200)
        }
    }

    @Test("an answer that is lost or cut off says nothing about whether the work was done")
    func lost() async throws {
        try await visit { visit in
            for (effect, when, isDone) in [
                ("reset", "before", false), ("reset", "after", true), ("truncated", "after", true),
            ] {
                let address = "\(effect).\(when)@people.test"
                try await visit.control(
                    "POST", "/sandbox/faults",
                    ["effect": .string(effect), "when": .string(when), "count": 1, "match": ["method": "POST"]])
                await #expect(throws: HTTPError.self) { try await visit.add(address) }
                #expect(try await visit.call("GET", visit.member(address)).status == (isDone ? 200 : 404))
            }
            try await visit.control("POST", "/sandbox/faults", ["effect": "malformed", "count": 1])
            let reading = try await visit.add("bad@people.test")
            #expect(reading.status == 200)
            #expect(reading.json == .null)
            #expect(!reading.response.body.isEmpty)
            #expect(try await visit.call("GET", visit.member("bad@people.test")).status == 200)
        }
    }

    @Test("a late answer is right, and one that the edge gave up on is lost; the work is done unless it is to wait")
    func late() async throws {
        try await visit { visit in
            for (effect, when, status, isDone) in [
                ("hang", "after", 200, true), ("hang", "before", 200, true), ("slow", "after", 200, true),
                ("timeout", "after", 502, true), ("timeout", "before", 502, false),
            ] {
                let address = "\(effect).\(when)@people.test"
                try await visit.control(
                    "POST", "/sandbox/faults",
                    ["effect": .string(effect), "when": .string(when), "milliseconds": 100, "count": 1])
                let clock = ContinuousClock.now
                let reading = try await visit.add(address)
                #expect(ContinuousClock.now - clock >= .milliseconds(90))
                #expect(reading.status == status, "\(effect) \(when)")
                if status == 200 { #expect(reading["email_address"] == .string(address)) }
                // Its place is held until the last byte is out.
                try await eventually("the call ends") { try await visit.inFlight() == 0 }
                let log = try await visit.control("GET", "/sandbox/requests?count=1")["requests"]?.array
                #expect((log?.first?["milliseconds"]?.integer ?? 0) >= 90, "\(effect)")
                let found = try await visit.call("GET", visit.member(address)).status
                #expect(found == (isDone ? 200 : 404), "\(effect) \(when)")
            }
        }
    }

    @Test("a call that hangs holds its place among those in flight although its caller has gone")
    func held() async throws {
        try await visit { visit in
            for effect in ["hang", "timeout"] {
                try await visit.control(
                    "POST", "/sandbox/faults", ["effect": .string(effect), "milliseconds": 600_000, "count": 1])
                let request = HTTPRequest(
                    method: "GET", url: "http://127.0.0.1:\(visit.port)/3.0/ping",
                    headers: [("Authorization", "Bearer \(visit.key)")], timeout: .milliseconds(100))
                await #expect(throws: HTTPError.self) { try await visit.http.send(request) }
            }
            // By the end of these the sandbox knows that the others have hung up.
            for _ in 0..<20 { try await visit.call("GET", "/3.0/ping") }
            #expect(try await visit.inFlight() == 2)
            let open = try await visit.control("GET", "/sandbox/overview")["calls"]?["open"]?.array
            #expect(open?.compactMap { $0["path"]?.string } == ["/3.0/ping", "/3.0/ping"])
        }
    }

    @Test("a share of the calls is met, the same ones for the same seed; some pass first, and only so many are met")
    func shares() async throws {
        try await visit { visit in
            var runs: [[Int]] = []
            for seed in [7, 7, 8] {
                try await visit.control(
                    "POST", "/sandbox/faults", ["effect": "500", "share": 0.3, "seed": .integer(seed)])
                var statuses: [Int] = []
                for _ in 0..<60 { statuses.append(try await visit.call("GET", "/3.0/ping").status) }
                runs.append(statuses)
                try await visit.control("DELETE", "/sandbox/faults")
            }
            #expect(runs[0] == runs[1])
            #expect(runs[0] != runs[2])
            #expect((8...30).contains(runs[0].count { $0 == 500 }))
            let made = try await visit.control("POST", "/sandbox/faults", ["effect": "500", "skip": 2, "count": 3])
            var statuses: [Int] = []
            for _ in 0..<7 { statuses.append(try await visit.call("GET", "/3.0/ping").status) }
            #expect(statuses == [200, 200, 500, 500, 500, 200, 200])
            let id = try #require(made["id"]?.integer)
            let faults = try await visit.control("GET", "/sandbox/faults")["faults"]?.array
            #expect(faults?.first?["hits"] == 3)
            try await visit.control("DELETE", "/sandbox/faults/\(id)")
            #expect(try await visit.call("DELETE", "/sandbox/faults/\(id)").status == 404)
        }
    }

    @Test("a rule with a slip of the pen is refused")
    func wrongRules() async throws {
        try await visit { visit in
            for rule in [
                [:], ["effect": "501"], ["effect": "500", "shares": 1], ["effect": "500", "share": 2],
                ["effect": "500", "count": -1], ["effect": "500", "when": "later"],
                ["effect": "slow", "when": "before"], ["effect": "500", "match": ["members": "a@people.test"]],
                ["effect": "500", "match": ["member": "nobody"]], ["effect": "500", "match": ["method": 1]],
            ] as [JSON] {
                let status = try await visit.call("POST", "/sandbox/faults", rule).status
                #expect(status == 400, "\(rule)")
            }
            #expect(try await visit.control("GET", "/sandbox/faults")["faults"] == [])
        }
    }
}

extension Visit {
    @discardableResult
    fileprivate func add(_ address: String) async throws(HTTPError) -> Reading {
        try await call("POST", members, ["email_address": .string(address), "status": "subscribed"])
    }

    /// How many calls of the first user are under way.
    fileprivate func inFlight() async throws -> Int {
        let counts = try await control("GET", "/sandbox/audit")["in_flight"]?.object?.pairs ?? []
        return counts.compactMap(\.value.integer).reduce(0, +)
    }
}
