import HTTPClient
import Testing

@testable import MailchimpSandbox

/// Which statuses the API lets a caller set, state by state.
@Suite struct StatusTests {
    /// What the answer is: the status in force afterwards, or the title of the refusal.
    struct Row: Sendable, CustomTestStringConvertible {
        let from: Visit.State
        let to: String
        let likely: String
        let strict: String
        let permissive: String

        init(_ from: Visit.State, _ to: String, _ likely: String, strict: String? = nil, permissive: String? = nil) {
            self.from = from
            self.to = to
            self.likely = likely
            self.strict = strict ?? likely
            self.permissive = permissive ?? likely
        }

        var testDescription: String { "\(from.rawValue) to \(to)" }
    }

    private static let compliance = "Member In Compliance State"
    private static let forgotten = "Forgotten Email Not Subscribed"

    static let table: [Row] = [
        Row(.absent, "subscribed", "subscribed"), Row(.absent, "unsubscribed", "unsubscribed"),
        Row(.absent, "pending", "pending"), Row(.absent, "transactional", "transactional"),
        Row(.subscribed, "subscribed", "subscribed"), Row(.subscribed, "unsubscribed", "unsubscribed"),
        Row(.subscribed, "pending", "pending"), Row(.unsubscribedByAPI, "subscribed", "subscribed"),
        Row(.unsubscribedByAPI, "unsubscribed", "unsubscribed"), Row(.unsubscribedByAPI, "pending", "pending"),
        Row(.unsubscribedByContact, "subscribed", compliance),
        Row(.unsubscribedByContact, "unsubscribed", "unsubscribed"),
        Row(.unsubscribedByContact, "pending", "pending", strict: compliance), Row(.cleaned, "subscribed", compliance),
        Row(.cleaned, "unsubscribed", "unsubscribed", strict: compliance),
        Row(.cleaned, "pending", compliance, permissive: "pending"),
        Row(.pending, "subscribed", "subscribed", strict: compliance), Row(.pending, "unsubscribed", "unsubscribed"),
        Row(.pending, "pending", "pending"), Row(.transactional, "subscribed", "subscribed"),
        Row(.transactional, "unsubscribed", "unsubscribed"), Row(.transactional, "pending", "pending"),
        Row(.archived, "subscribed", "subscribed"), Row(.archived, "unsubscribed", "unsubscribed"),
        Row(.archived, "pending", "pending"),
        Row(.archivedAfterOwnNo, "subscribed", compliance, permissive: "subscribed"),
        Row(.archivedAfterOwnNo, "pending", "pending", strict: compliance),
        Row(.archivedAfterOwnNo, "unsubscribed", "unsubscribed"), Row(.forgotten, "subscribed", forgotten),
        Row(.forgotten, "unsubscribed", forgotten), Row(.forgotten, "pending", forgotten),
    ]

    @Test("a PUT ends as the table says, whichever switches are on", arguments: ["likely", "strict", "permissive"])
    func put(preset: String) async throws {
        try await visit { visit in
            try await visit.control("PATCH", "/sandbox/switches", ["refuses_fake_addresses": false])
            for (index, row) in Self.table.enumerated() {
                // The states come about under the likely rules; only the call itself is under test.
                try await visit.control("PATCH", "/sandbox/switches", ["preset": "likely"])
                let address = "person\(index)@people.test"
                try await visit.make(address, row.from)
                try await visit.control("PATCH", "/sandbox/switches", ["preset": .string(preset)])
                let reading = try await visit.call(
                    "PUT", visit.member(address), ["email_address": .string(address), "status": .string(row.to)])
                let expected = preset == "likely" ? row.likely : preset == "strict" ? row.strict : row.permissive
                let outcome = reading.status == 200 ? reading["status"].string : reading.title
                #expect(outcome == expected, "\(row.testDescription), \(preset)")
                if reading.status != 200 {
                    #expect(reading.status == 400)
                    #expect(reading["type"] == .null, "the member-state errors come without a type")
                }
            }
        }
    }

    @Test("DELETE archives only who is subscribed, unsubscribed or transactional", arguments: Visit.State.allCases)
    func delete(state: Visit.State) async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", state)
            let reading = try await visit.call("DELETE", visit.member("ann@people.test"))
            switch state {
            case .absent, .forgotten: #expect(reading.status == 404)
            case .subscribed, .unsubscribedByAPI, .unsubscribedByContact, .transactional: #expect(reading.status == 204)
            case .cleaned, .pending, .archived, .archivedAfterOwnNo:
                #expect(reading.status == 405)
                #expect(reading.response.header("Allow") == "GET, PUT")
            }
        }
    }

    @Test("permanent deletion works in every state that is there", arguments: Visit.State.allCases)
    func deletePermanently(state: Visit.State) async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", state)
            let path = visit.member("ann@people.test")
            let isThere = state != .absent && state != .forgotten
            #expect(try await visit.call("POST", "\(path)/actions/delete-permanent").status == (isThere ? 204 : 404))
            #expect(try await visit.call("GET", path).status == 404)
        }
    }

    @Test("a no of one's own outlives being made pending and unsubscribed by a call")
    func ownNoIsKept() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .unsubscribedByContact)
            let path = visit.member("ann@people.test")
            #expect(try await visit.call("PATCH", path, ["status": "pending"]).status == 200)
            #expect(try await visit.call("PATCH", path, ["status": "subscribed"]).title == "Member In Compliance State")
            #expect(try await visit.call("PATCH", path, ["status": "unsubscribed"]).status == 200)
            #expect(try await visit.call("PATCH", path, ["status": "subscribed"]).title == "Member In Compliance State")
            try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/resubscribe", [:])
            #expect(try await visit.call("GET", path)["status"] == "subscribed")
        }
    }

    @Test("who deleted himself for good comes back only by signing up himself, as another contact")
    func forgottenReturns() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let before = try await visit.call("GET", visit.member("ann@people.test"))["contact_id"]
            try await visit.call("POST", "\(visit.member("ann@people.test"))/actions/delete-permanent")
            try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/resubscribe", [:])
            let after = try await visit.call("GET", visit.member("ann@people.test"))
            #expect(after["status"] == "subscribed")
            #expect(after["contact_id"] != before)
        }
    }

    @Test("an archived contact's status is not restored, and unsubscribing there is visible or hidden by a switch")
    func archivedUnsubscribes() async throws {
        for hidden in [false, true] {
            try await visit { visit in
                try await visit.control("PATCH", "/sandbox/switches", ["archived_unsubscribe_is_hidden": .bool(hidden)])
                try await visit.make("ann@people.test", .archived)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/unsubscribe", [:])
                let reading = try await visit.call("GET", visit.member("ann@people.test"))
                #expect(reading["status"] == (hidden ? "archived" : "unsubscribed"))
                let again = try await visit.call("PATCH", visit.member("ann@people.test"), ["status": "subscribed"])
                #expect(again.title == "Member In Compliance State")
            }
        }
    }
}
