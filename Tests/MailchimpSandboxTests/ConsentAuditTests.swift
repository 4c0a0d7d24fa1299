import Testing

@testable import MailchimpSandbox

/// Whether a call that made somebody subscribed could have known better.
@Suite struct ConsentAuditTests {
    private static let subscribed: JSON = ["status": "subscribed"]
    private static let ann = "ann@people.test"

    private struct Counts: Equatable {
        var known = 0
        var between = 0
        var unread = 0
        var restored = 0
        var refused = 0
    }

    private func counts(_ visit: Visit) async throws -> Counts {
        let audit = try await visit.control("GET", "/sandbox/audit")["consent"]
        return Counts(
            known: audit?["subscribed_against_known_no"]?.integer ?? -1,
            between: audit?["no_in_between"]?["count"]?.integer ?? -1,
            unread: audit?["subscribed_without_read"]?.integer ?? -1,
            restored: audit?["no_in_between"]?["restored"]?.integer ?? -1,
            refused: audit?["refused_attempts"]?.integer ?? -1)
    }

    private func expect(
        _ wanted: Counts, _ visit: Visit, at location: SourceLocation = #_sourceLocation
    ) async throws {
        let found = try await counts(visit)
        #expect(found == wanted, sourceLocation: location)
    }

    /// A visit in which archiving hides every no, and the clock is moved by hand.
    private func audited(_ body: (Visit, TestClock) async throws -> Void) async throws {
        let clock = TestClock()
        try await visit { configuration in
            configuration.switches = .permissive
            configuration.clock = clock.read
        } _: { visit in
            try await body(visit, clock)
        }
    }

    private func act(_ act: String, _ visit: Visit, _ address: String = ann) async throws {
        try await visit.control("POST", "\(visit.door)/members/\(address)/\(act)", ["email_address": .string(address)])
    }

    private func create(_ visit: Visit, _ address: String = ann) async throws {
        try await visit.call("POST", visit.members, ["email_address": .string(address), "status": "subscribed"])
    }

    /// Archived by a call, with whatever lies beneath.
    private func archived(_ visit: Visit) async throws {
        try await visit.call("GET", visit.member(Self.ann))
        try await create(visit)
        try await visit.call("DELETE", visit.member(Self.ann))
    }

    private func readAll(_ visit: Visit, since: String = "") async throws {
        try await visit.call("GET", "\(visit.members)?count=1000\(since)")
        try await visit.call("GET", "\(visit.members)?count=1000&status=archived\(since)")
    }

    @Test(
        "a no that a reading could have shown is known, whichever reading it was",
        arguments: ["member", "id", "activity", "page", "pass"])
    func known(reading: String) async throws {
        try await audited { visit, _ in
            try await archived(visit)
            try await act("contact/unsubscribe", visit)
            switch reading {
            case "member": try await visit.call("GET", visit.member(Self.ann))
            case "id":
                let id = try await visit.control("GET", "\(visit.door)/members/\(Self.ann)")["contact_id"]?.string
                try await visit.call("GET", "\(visit.members)/\(try #require(id))")
            case "activity": try await visit.call("GET", "\(visit.member(Self.ann))/activity")
            case "page": try await visit.call("GET", "\(visit.members)?count=1&status=archived")
            default: try await readAll(visit)
            }
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(known: 1), visit)
        }
    }

    @Test(
        "a no that fell after the last reading is one in between, and counts as restored once it is unsubscribed again")
    func between() async throws {
        try await audited { visit, clock in
            try await archived(visit)
            try await visit.call("GET", visit.member(Self.ann))
            try await act("contact/complain", visit)
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(between: 1), visit)
            clock.advance(59)
            try await visit.call("PATCH", visit.member(Self.ann), ["status": "unsubscribed"])
            try await expect(Counts(between: 1, restored: 1), visit)
        }
    }

    @Test("a no that is restored after a minute, or not at all, is told apart")
    func late() async throws {
        try await audited { visit, clock in
            try await archived(visit)
            try await act("contact/unsubscribe", visit)
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            clock.advance(61)
            func between() async throws -> JSON? {
                try await visit.control("GET", "/sandbox/audit")["consent"]?["no_in_between"]
            }
            #expect(try await between()?["not_restored"] == 1)
            try await visit.call("PATCH", visit.member(Self.ann), ["status": "unsubscribed"])
            #expect(try await between()?["not_restored"] == 0)
            #expect(try await between()?["restored_late"] == 1)
        }
    }

    @Test("whoever signed up again himself has taken his no back")
    func takenBack() async throws {
        try await audited { visit, _ in
            try await archived(visit)
            try await act("contact/unsubscribe", visit)
            try await act("contact/resubscribe", visit)
            try await visit.call("DELETE", visit.member(Self.ann))
            try await visit.call("GET", visit.member(Self.ann))
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(), visit)
        }
    }

    @Test("an admin's subscribing takes no no back")
    func adminSubscribes() async throws {
        try await audited { visit, _ in
            try await archived(visit)
            try await act("contact/unsubscribe", visit)
            try await act("admin/subscribe", visit)
            try await act("admin/archive", visit)
            try await visit.call("GET", visit.member(Self.ann))
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(known: 1), visit)
        }
    }

    @Test("an address is known as absent by a look-up or a complete reading of both listings, for a quarter of an hour")
    func absence() async throws {
        try await audited { visit, clock in
            try await create(visit, "unread@people.test")
            try await expect(Counts(unread: 1), visit)
            try await visit.call("GET", visit.member("looked@people.test"))
            clock.advance(900)
            try await create(visit, "looked@people.test")
            try await expect(Counts(unread: 1), visit)
            try await visit.call("GET", "\(visit.members)?count=1000")
            try await create(visit, "half@people.test")
            try await expect(Counts(unread: 2), visit)
            try await visit.call("GET", "\(visit.members)?count=1&status=archived")
            clock.advance(900)
            try await create(visit, "read@people.test")
            try await expect(Counts(unread: 2), visit)
            clock.advance(1)
            try await create(visit, "late@people.test")
            try await expect(Counts(unread: 3), visit)
        }
    }

    @Test("a reading of what changed carries the knowledge of absence on when it leaves no gap")
    func incremental() async throws {
        try await audited { visit, clock in
            try await readAll(visit)
            clock.advance(800)
            try await readAll(visit, since: "&since_last_changed=2023-11-14T22:10:00Z")
            clock.advance(800)
            try await create(visit, "carried@people.test")
            try await expect(Counts(), visit)
            clock.advance(800)
            try await readAll(visit, since: "&since_last_changed=2023-11-14T22:39:00Z")
            try await create(visit, "gap@people.test")
            try await expect(Counts(unread: 1), visit)
        }
    }

    @Test("pages count as a complete reading once they reach from the first contact to the last")
    func pages() async throws {
        try await audited { visit, _ in
            for name in ["a", "b", "c"] {
                try await visit.control(
                    "POST", "\(visit.door)/contacts", ["email_address": .string("\(name)@people.test")])
            }
            try await visit.call("GET", "\(visit.members)?status=archived")
            try await visit.call("GET", "\(visit.members)?count=2&offset=1")
            try await create(visit, "d@people.test")
            try await expect(Counts(unread: 1), visit)
            try await visit.call("GET", "\(visit.members)?count=2&offset=0")
            try await visit.call("GET", "\(visit.members)?count=2&offset=2")
            try await create(visit, "e@people.test")
            try await expect(Counts(unread: 1), visit)
        }
    }

    @Test("a bulk call that takes an archived contact for a new one is judged by what was read of him")
    func bulk() async throws {
        try await audited { visit, clock in
            try await readAll(visit)
            try await visit.control("POST", "\(visit.door)/contacts", ["email_address": "bee@people.test"])
            try await act("contact/unsubscribe", visit, "bee@people.test")
            try await act("admin/archive", visit, "bee@people.test")
            let body: JSON = ["members": [["email_address": "bee@people.test", "status": "subscribed"]]]
            try await visit.call("POST", "/3.0/lists/\(visit.list)", body)
            try await expect(Counts(between: 1), visit)
            try await visit.call("DELETE", visit.member("bee@people.test"))
            try await readAll(visit)
            try await visit.call("POST", "/3.0/lists/\(visit.list)", body)
            try await expect(Counts(known: 1, between: 1), visit)
            try await visit.call("DELETE", visit.member("bee@people.test"))
            clock.advance(121)
            try await visit.call("POST", "/3.0/lists/\(visit.list)", body)
            try await expect(Counts(known: 2, between: 1, unread: 1), visit)
        }
    }

    @Test("what never arrived was not read", arguments: ["reset", "truncated", "malformed", "500"])
    func lostReading(effect: String) async throws {
        try await audited { visit, _ in
            try await archived(visit)
            try await act("contact/unsubscribe", visit)
            try await visit.control("POST", "/sandbox/faults", ["effect": .string(effect), "when": "after"])
            _ = try? await visit.call("GET", "\(visit.member(Self.ann))/activity")
            try await visit.control("DELETE", "/sandbox/faults")
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(between: 1), visit)
        }
    }

    @Test("a reading that was answered only just before may be too new for the caller, when it is told so")
    func grace() async throws {
        try await audited { visit, _ in
            try await visit.control("PUT", "/sandbox/audit", ["grace_milliseconds": 60_000])
            try await archived(visit)
            try await act("contact/unsubscribe", visit)
            try await visit.call("GET", visit.member(Self.ann))
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(between: 1), visit)
        }
    }

    @Test("a refused call is an attempt and nothing more, also at an address that was deleted for good")
    func refused() async throws {
        try await audited { visit, _ in
            try await visit.make(Self.ann, .unsubscribedByContact)
            try await visit.call("GET", visit.member(Self.ann))
            try await visit.control("DELETE", "/sandbox/audit")
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await act("admin/delete", visit)
            try await create(visit)
            try await expect(Counts(refused: 2), visit)
            try await act("contact/resubscribe", visit)
            try await visit.call("GET", visit.member(Self.ann))
            try await visit.call("DELETE", visit.member(Self.ann))
            try await visit.call("PATCH", visit.member(Self.ann), Self.subscribed)
            try await expect(Counts(refused: 2), visit)
        }
    }
}
