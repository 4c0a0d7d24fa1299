import TestSupport
import Testing

@testable import MailchimpSandbox

/// Webhooks, delivered to a small server.
@Suite struct WebhookTests {
    @Test("a receiver must answer a GET, and one address serves a list once")
    func validation() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                receiver.answer(with: 404)
                #expect(try await visit.subscribe(receiver).status == 400)
                receiver.answer(with: 200)
                let made = try await visit.subscribe(receiver)
                #expect(made.status == 200)
                #expect(made["events"]["upemail"] == true)
                #expect(made["sources"]["api"] == false)
                #expect(try await visit.subscribe(receiver).status == 400)
                let all = try await visit.call("GET", "/3.0/lists/\(visit.list)/webhooks")
                #expect(all["total_items"] == 1)
                let id = try #require(made["id"].string)
                #expect(try await visit.call("DELETE", "/3.0/lists/\(visit.list)/webhooks/\(id)").status == 204)
                #expect(try await visit.call("DELETE", "/3.0/lists/\(visit.list)/webhooks/\(id)").status == 404)
            }
        }
    }

    @Test("what a contact does arrives as a form with bracketed names; what a call does arrives only when asked for")
    func events() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                try await visit.make("ann@people.test", .subscribed)
                try await visit.control(
                    "POST", "\(visit.door)/members/ann@people.test/contact/change-address",
                    ["email_address": "bee@people.test"])
                try await visit.control("POST", "\(visit.door)/members/bee@people.test/contact/unsubscribe", [:])
                try await visit.control("POST", "\(visit.door)/members/bee@people.test/contact/resubscribe", [:])
                try await visit.control("POST", "\(visit.door)/members/bee@people.test/admin/archive", [:])
                try await eventually("six events") { receiver.forms.count == 6 }
                let forms = receiver.forms
                #expect(
                    forms.compactMap { $0["type"] }.sorted() == [
                        "profile", "profile", "subscribe", "unsubscribe", "unsubscribe", "upemail",
                    ])
                let move = try #require(forms.first { $0["type"] == "upemail" })
                #expect(move["data[old_email]"] == "ann@people.test")
                #expect(move["data[new_email]"] == "bee@people.test")
                #expect(move["data[email]"] == nil)
                let opt = try #require(forms.first { $0["data[action]"] == "unsub" })
                #expect(opt["data[reason]"] == "manual")
                #expect(opt["data[merges][EMAIL]"] == "bee@people.test")
                #expect(opt["data[list_id]"] == visit.list)
                #expect(forms.contains { $0["data[action]"] == "delete" })
                #expect(receiver.agents == ["MailChimp.com"])
            }
        }
    }

    @Test("a webhook can be changed: what is named, and to an address that answers")
    func changing() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                let id = try #require(try await visit.subscribe(receiver)["id"].string)
                let path = "/3.0/lists/\(visit.list)/webhooks/\(id)"
                let changed = try await visit.call(
                    "PATCH", path, ["events": ["upemail": false], "sources": ["api": true]])
                #expect(changed["events"]["upemail"] == false)
                #expect(changed["events"]["subscribe"] == true)
                #expect(changed["sources"]["api"] == true)
                let moved = receiver.url + "&other=1"
                receiver.answer(with: 404)
                #expect(try await visit.call("PATCH", path, ["url": .string(moved)]).status == 400)
                receiver.answer(with: 200)
                #expect(try await visit.call("PATCH", path, ["url": .string(moved)])["url"] == .string(moved))
                #expect(try await visit.call("PATCH", path + "0", [:]).status == 404)
            }
        }
    }

    @Test("fired_at has no zone; a switch makes it the account's time")
    func firedAt() async throws {
        for (utc, local) in [
            ("2026-01-31T09:00:00Z", "2026-01-31 10:00:00"), ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59"),
            ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00"), ("2026-10-25T00:59:59Z", "2026-10-25 02:59:59"),
            ("2026-10-25T01:00:00Z", "2026-10-25 02:00:00"),
        ] {
            let seconds = try #require(SandboxConfiguration.seconds(iso8601: utc))
            #expect(Timestamp.plain(CentralEuropeanTime.local(seconds)) == local)
        }
        let start = SandboxConfiguration.seconds(iso8601: "2026-07-01T12:00:00Z")
        try await visit({ $0.startsAt = start }) { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                for isLocal in [false, true] {
                    try await visit.control("PATCH", "/sandbox/switches", ["fired_at_is_local": .bool(isLocal)])
                    try await visit.control("POST", "\(visit.door)/events", ["type": "sms_subscribe"])
                }
                try await eventually("both events") { receiver.forms.count == 2 }
                let hours = receiver.forms.compactMap { $0["fired_at"]?.prefix(13) }
                #expect(hours.sorted() == ["2026-07-01 12", "2026-07-01 14"])
            }
        }
    }

    @Test("a delivery that fails is repeated, and 410 switches the webhook off")
    func retries() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver)
                try await visit.make("ann@people.test", .subscribed)
                receiver.answer(with: 500, then: 200)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/unsubscribe", [:])
                try await eventually("the second try") { receiver.forms.count == 2 }
                receiver.answer(with: 410)
                try await visit.control("POST", "\(visit.door)/members/ann@people.test/admin/clean", [:])
                try await eventually("the webhook is off") {
                    let list = try await visit.control("GET", visit.door)
                    return list["webhooks"]?.array?.first?["disabled"] == "it answered 410"
                }
                #expect(receiver.forms.last?["type"] == "cleaned")
            }
        }
    }

    @Test("webhooks can be lost and doubled on purpose, and what calls did is told when asked for")
    func dropped() async throws {
        try await visit { visit in
            try await withReceiver { receiver in
                _ = try await visit.subscribe(receiver, api: true)
                try await visit.control("PUT", "/sandbox/webhooks", ["drop_share": 1])
                try await visit.make("ann@people.test", .subscribed)
                let state = try await visit.control("PUT", "/sandbox/webhooks", ["double_share": 1])
                #expect(state["dropped"] == 2)
                try await visit.call("PATCH", visit.member("ann@people.test"), ["merge_fields": ["FNAME": "Ann"]])
                try await eventually("the profile, twice") { receiver.forms.count == 2 }
                #expect(receiver.forms.allSatisfy { $0["data[merges][FNAME]"] == "Ann" })
            }
        }
    }
}

extension JSON {
    /// A part of an object; nothing when it is not there.
    fileprivate subscript(key: String) -> JSON { object?[key] ?? .null }
}
