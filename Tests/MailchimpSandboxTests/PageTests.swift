import FoundationEssentials
import HTTPClient
import IO
import TestSupport
import Testing

@testable import MailchimpSandbox

/// The page at `/`, as it is served and, where there is a browser, as it is drawn.
@Suite struct PageTests {
    @Test("the page is one document that fetches nothing from elsewhere and puts nothing into itself as HTML")
    func document() async throws {
        try await visit { visit in
            let page = try await visit.call("GET", "/", headers: [])
            let text = String(decoding: page.response.body, as: UTF8.self)
            #expect(page.status == 200)
            #expect(page.response.header("Content-Type") == "text/html; charset=utf-8")
            #expect(text.hasPrefix("<!doctype html>"))
            #expect(text.contains("const pageSize") && text.contains("--paper:"))
            for foreign in ["http://", "https://", "//cdn", "@import", "url(", "src="] {
                #expect(!text.contains(foreign), "\(foreign)")
            }
            for unescaped in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                #expect(!text.contains(unescaped), "\(unescaped)")
            }
            let policy = page.response.header("Content-Security-Policy") ?? ""
            #expect(policy.contains("default-src 'none'"))
            #expect(policy.contains("script-src 'sha256-"))
        }
    }

    @Test("the control door and the page open to nobody's page but their own, and to no other name of this machine")
    func strangers() async throws {
        try await visit { visit in
            let home = "http://127.0.0.1:\(visit.port)"
            for (header, value, status) in [
                ("Origin", home, 200), ("Origin", "http://shop.test", 403), ("Origin", "null", 403),
                ("Host", "localhost:\(visit.port)", 200), ("Host", "shop.test", 403),
            ] {
                for path in ["/", "/sandbox/overview"] {
                    let answer = try await visit.call("GET", path, headers: [(header, value)])
                    #expect(answer.status == status, "\(header): \(value) \(path)")
                }
            }
        }
        let open = Doorkeeper(isOpen: true)
        #expect(open.refusal(peer: "10.0.0.1", host: "box.test:8086", origin: "http://box.test:8086") == nil)
        #expect(open.refusal(peer: "10.0.0.1", host: "box.test:8086", origin: "http://shop.test") != nil)
        #expect(Doorkeeper(isOpen: false).refusal(peer: "10.0.0.1", host: "127.0.0.1", origin: nil) != nil)
        #expect(Doorkeeper(isOpen: false).refusal(peer: "::1", host: "[::1]:8086", origin: nil) == nil)
    }

    @Test("what the page shows is there in one answer, bounded, and members are found and paged")
    func overview() async throws {
        try await visit { visit in
            try await visit.control("POST", "\(visit.door)/contacts", ["generate": 30])
            try await visit.make("ann@people.test", .unsubscribedByContact)
            for _ in 0..<70 { try await visit.call("GET", "/3.0/ping") }
            let overview = try await visit.control("GET", "/sandbox/overview")
            #expect(overview["calls"]?["newest"]?.array?.count == 60)
            #expect(overview["calls"]?["total"] == 71)
            #expect(overview["lists"]?.array?.first?["members"]?["subscribed"] == 30)
            #expect(overview["switches"]?.array?.count == SandboxSwitches.names.count)
            let members = "\(visit.door)/members?order=changed"
            let newest = try await visit.control("GET", "\(members)&count=10")
            #expect(newest["members"]?.array?.first?["email_address"] == "ann@people.test")
            #expect(newest["members"]?.array?.count == 10)
            #expect(newest["more"] == true)
            let rest = try await visit.control("GET", "\(members)&count=10&offset=30")
            #expect(rest["members"]?.array?.count == 1)
            #expect(rest["more"] == false)
            let found = try await visit.control("GET", "\(members)&search=CONTACT2&count=20")
            // contact2 and contact20 to contact29.
            #expect(found["members"]?.array?.count == 11)
            let exact = try await visit.control("GET", "\(members)&search=contact2@people.test")
            #expect(exact["members"]?.array?.count == 1)
            let none = try await visit.control("GET", "\(members)&search=ann&status=subscribed")
            #expect(none["members"] == [])
        }
    }

    @Test("a member is shown with his tags and interests, and his history tells who changed what")
    func inspection() async throws {
        try await visit { visit in
            let path = visit.member("ann@people.test")
            try await visit.make("ann@people.test", .subscribed)
            try await visit.call("PATCH", path, ["merge_fields": ["FNAME": "Ann", "LNAME": ""]])
            try await visit.call("POST", "\(path)/tags", ["tags": [["name": "Board", "status": "active"]]])
            try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/unsubscribe", [:])
            let member = try await visit.control("GET", "\(visit.door)/members/ann@people.test")
            #expect(member["tags"] == ["Board"])
            #expect(member["interests"] == [])
            let history = member["history"]?.array?.map { "\($0["by"]?.string ?? ""): \($0["what"]?.string ?? "")" }
            #expect(
                history == [
                    "api: created subscribed", "api: changed FNAME", "api: tag Board",
                    "contact: subscribed to unsubscribed",
                ])
        }
    }

    @Test(
        "a browser draws the members and the calls, and a name in HTML stays a name", .enabled(if: Browser.path != nil))
    func browser() async throws {
        try await visit { visit in
            let name: JSON = ["FNAME": "<img src=x onerror=alert(1)>"]
            try await visit.call(
                "POST", visit.members,
                ["email_address": "ann@people.test", "status": "subscribed", "merge_fields": name])
            let drawn = try await Browser.draw("http://127.0.0.1:\(visit.port)/")
            #expect(drawn.contains(">ann@people.test<"))
            #expect(drawn.contains("&lt;img src=x onerror=alert(1)&gt;"))
            #expect(!drawn.contains("<img"))
            #expect(drawn.contains("<span class=\"method writes\">POST</span>"))
            #expect(drawn.contains("<span id=\"live-text\">live</span>"))
        }
    }
}
