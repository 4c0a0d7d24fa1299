import HTTPClient
import Testing

@testable import MailchimpSandbox

/// Calls on single members.
@Suite struct MemberTests {
    @Test("a member is found by hash, by address and by contact id, and by nothing else")
    func references() async throws {
        try await visit { visit in
            let made = try await visit.call(
                "POST", visit.members, ["email_address": "Ann@People.test", "status": "subscribed"])
            let contact = try #require(made["contact_id"].string)
            for reference in [HexID(address: "ann@people.test").hex, "ANN@people.test", "ann%40people.test", contact] {
                let reading = try await visit.call("GET", "\(visit.members)/\(reference)")
                #expect(reading["email_address"] == "Ann@People.test")
            }
            #expect(try await visit.call("GET", "\(visit.members)/nobody@people.test").status == 404)
            #expect(try await visit.call("GET", "\(visit.members)/zzz").status == 404)
        }
    }

    @Test("an object has the shape of a recorded one")
    func shape() async throws {
        try await visit { visit in
            let made = try await visit.call(
                "POST", visit.members,
                [
                    "email_address": "ann@people.test", "status": "subscribed",
                    "merge_fields": ["FNAME": "Ann", "NOBODY": "x"],
                ])
            let keys = try #require(made.json.object).pairs.map(\.key)
            #expect(
                keys == [
                    "id", "email_address", "unique_email_id", "contact_id", "full_name", "web_id", "email_type",
                    "status",
                    "consents_to_one_to_one_messaging", "merge_fields", "stats", "ip_signup", "timestamp_signup",
                    "ip_opt",
                    "timestamp_opt", "member_rating", "last_changed", "language", "vip", "email_client", "location",
                    "source",
                    "tags_count", "tags", "list_id", "_links",
                ])
            #expect(made["full_name"] == "Ann")
            #expect(made["merge_fields"] == ["FNAME": "Ann", "LNAME": "", "ADDRESS": "", "PHONE": ""])
            #expect(made["timestamp_signup"] == "")
            let link = try #require(made["_links"].array?.first?["href"]?.string)
            #expect(link.hasPrefix("https://us3.api.mailchimp.com/3.0/lists/"))
            #expect(made.response.header("X-Request-Id")?.isEmpty == false)
            #expect(made.response.header("Server") == "openresty")
        }
    }

    @Test("an unsubscribe reason is there only while unsubscribed")
    func unsubscribeReason() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .unsubscribedByAPI)
            let path = visit.member("ann@people.test")
            #expect(try await visit.call("GET", path)["unsubscribe_reason"] == "N/A (Unsubscribed by admin)")
            #expect(try await visit.call("PATCH", path, ["status": "subscribed"])["unsubscribe_reason"] == .null)
        }
    }

    @Test("a member who exists is refused by POST, also without changing him")
    func exists() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let again = try await visit.call(
                "POST", visit.members,
                ["email_address": "ANN@people.test", "status": "unsubscribed", "merge_fields": ["FNAME": "X"]])
            #expect(again.title == "Member Exists")
            #expect(again["detail"].string?.contains("Use PUT") == true)
            #expect(try await visit.call("GET", visit.member("ann@people.test"))["status"] == "subscribed")
        }
    }

    @Test("last_changed moves with a change and not with a repeat of it")
    func lastChanged() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            try await visit.make("ann@people.test", .subscribed)
            let path = visit.member("ann@people.test")
            let first = try await visit.call("GET", path)["last_changed"]
            clock.advance(5)
            let repeated = try await visit.call(
                "PUT", path,
                ["email_address": "ann@people.test", "status": "subscribed", "merge_fields": ["FNAME": ""]])
            #expect(repeated["last_changed"] == first)
            let changed = try await visit.call("PATCH", path, ["merge_fields": ["FNAME": "Ann"]])
            #expect(changed["last_changed"] != first)
        }
    }

    @Test("PUT makes a member under his own address whatever the path says, and needs a status for a new one")
    func upsert() async throws {
        try await visit { visit in
            let path = visit.member("other@people.test")
            let without = try await visit.call("PUT", path, ["email_address": "ann@people.test"])
            #expect(without.status == 400)
            let made = try await visit.call(
                "PUT", path, ["email_address": "ann@people.test", "status_if_new": "subscribed"])
            #expect(made["id"] == .string(HexID(address: "ann@people.test").hex))
            let kept = try await visit.call(
                "PUT", visit.member("ann@people.test"),
                ["email_address": "ann@people.test", "status_if_new": "pending"])
            #expect(kept["status"] == "subscribed")
            let taken = try await visit.call(
                "PUT", path, ["email_address": "ann@people.test", "status_if_new": "subscribed"])
            #expect(taken.title == "Member Exists")
        }
    }

    @Test("wrong types, statuses, addresses and bodies are refused with what is wrong")
    func validation() async throws {
        try await visit { visit in
            let number = try await visit.call("POST", visit.members, ["email_address": 1, "status": "subscribed"])
            #expect(number["errors"].array?.first?["message"] == "Schema describes string, integer found instead")
            let status = try await visit.call(
                "POST", visit.members, ["email_address": "a@people.test", "status": "archived"])
            #expect(status["errors"].array?.first?["field"] == "status")
            for address in ["no", "a@b@people.test", "a b@people.test", ".a@people.test", "a@-people.test", "a@people"]
            {
                let reading = try await visit.call(
                    "POST", visit.members, ["email_address": .string(address), "status": "subscribed"])
                #expect(reading.status == 400, "\(address)")
            }
            let address = try await visit.call(
                "POST", visit.members,
                ["email_address": "a@people.test", "status": "subscribed", "ip_signup": "home"])
            #expect(address["errors"].array?.first?["field"] == "ip_signup")
            let broken = try await visit.send(
                "POST", visit.members, Array("{".utf8), headers: [("Authorization", "Bearer \(visit.key)")])
            #expect(broken.title == "JSON Parse Error")
            let patched = try await visit.call("PATCH", visit.member("nobody@people.test"), ["status": "subscribed"])
            #expect(patched.status == 404)
        }
    }

    @Test("an archived contact comes back by POST with his id and fields, opted in anew")
    func revive() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            let made = try await visit.call(
                "POST", visit.members,
                ["email_address": "ann@people.test", "status": "subscribed", "merge_fields": ["FNAME": "Ann"]])
            try await visit.call("DELETE", visit.member("ann@people.test"))
            #expect(try await visit.call("GET", visit.member("ann@people.test"))["status"] == "archived")
            clock.advance(60)
            let back = try await visit.call(
                "POST", visit.members, ["email_address": "ann@people.test", "status": "subscribed"])
            #expect(back["status"] == "subscribed")
            #expect(back["contact_id"] == made["contact_id"])
            #expect(back["merge_fields"]["FNAME"] == "Ann")
            #expect(back["timestamp_opt"] != made["timestamp_opt"])
        }
    }

    @Test("the activity tells of unsubscribes and complaints, newest first, filtered by action")
    func activity() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/complain", [:])
            let path = "\(visit.member("ann@people.test"))/activity"
            let all = try await visit.call("GET", path)
            #expect(all["activity"].array?.compactMap { $0["action"]?.string } == ["unsub", "abuse"])
            let abuse = try await visit.call("GET", "\(path)?action=abuse,open")
            #expect(abuse["total_items"] == 1)
            #expect(try await visit.call("GET", "\(path)?action=laughed").status == 400)
            #expect(try await visit.call("GET", "\(visit.members)/nobody@people.test/activity").status == 404)
        }
    }
}
