import Testing

@testable import MailchimpSandbox

/// Tags, which are static segments.
@Suite struct TagTests {
    private func tag(_ visit: Visit, _ address: String, _ changes: [(name: String, status: String)]) async throws
        -> Reading
    {
        let tags = changes.map { change -> JSON in ["name": .string(change.name), "status": .string(change.status)] }
        return try await visit.call("POST", "\(visit.member(address))/tags", ["tags": .array(tags)])
    }

    private func names(_ visit: Visit, _ address: String) async throws -> [String] {
        let member = try await visit.call("GET", visit.member(address))
        let names = member["tags"].array?.compactMap { $0["name"]?.string } ?? []
        #expect(member["tags_count"] == .integer(names.count))
        let all = try await visit.call("GET", "\(visit.member(address))/tags?count=1000")
        #expect(all["tags"].array?.compactMap { $0["name"]?.string } == names)
        return names
    }

    @Test("named tags are switched on and off, made when unknown, whatever their case; the others stay")
    func changes() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            try await visit.make("ann@people.test", .subscribed)
            let first = try await visit.call("GET", visit.member("ann@people.test"))["last_changed"]
            clock.advance(5)
            let made = try await tag(visit, "ann@people.test", [("Red", "active"), ("Blue", "active")])
            #expect(made.status == 204)
            #expect(try await names(visit, "ann@people.test") == ["Red", "Blue"])
            let second = try await visit.call("GET", visit.member("ann@people.test"))["last_changed"]
            #expect(second != first)
            clock.advance(5)
            #expect(try await tag(visit, "ann@people.test", [("RED", "active"), ("none", "inactive")]).status == 204)
            #expect(try await visit.call("GET", visit.member("ann@people.test"))["last_changed"] == second)
            #expect(try await tag(visit, "ann@people.test", [("red", "inactive"), ("Green", "active")]).status == 204)
            #expect(try await names(visit, "ann@people.test") == ["Blue", "Green"])
            let found = try await visit.call("GET", "/3.0/lists/\(visit.list)/tag-search?name=r")
            #expect(found["tags"].array?.compactMap { $0["name"]?.string } == ["Red"])
        }
    }

    @Test("a body that makes no sense is 204 and does nothing; a member who is not there is 404")
    func nonsense() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .archived)
            let path = "\(visit.member("ann@people.test"))/tags"
            let nonsense: [JSON?] = [
                nil, [], ["tags": []], ["tags": ["Red"]], ["tags": [["name": "Red"]]], ["tags": "Red"], ["name": "Red"],
                ["tags": [["name": 1, "status": "active"]]],
            ]
            for body in nonsense { #expect(try await visit.call("POST", path, body).status == 204) }
            #expect(try await names(visit, "ann@people.test") == [])
            #expect(try await tag(visit, "ann@people.test", [("Red", "active")]).status == 204)
            #expect(try await names(visit, "ann@people.test") == ["Red"])
            #expect(try await tag(visit, "nobody@people.test", [("Red", "active")]).status == 404)
        }
    }

    @Test("POST of a member takes tags as texts; PUT and PATCH do not look at them")
    func onMembers() async throws {
        try await visit { visit in
            let ann: JSON = [
                "email_address": "ann@people.test", "status": "subscribed", "tags": ["Red", "red", "Blue"],
            ]
            #expect(try await visit.call("POST", visit.members, ann)["tags_count"] == 2)
            let path = visit.member("ann@people.test")
            for method in ["PUT", "PATCH"] {
                #expect(try await visit.call(method, path, ["tags": ["Green"]])["tags_count"] == 2)
                #expect(try await visit.call(method, path, ["tags": [["name": "Green"]]])["tags_count"] == 2)
            }
            let wrong: JSON = [
                "email_address": "bee@people.test", "status": "subscribed",
                "tags": [["name": "x", "status": "active"]],
            ]
            let refused = try await visit.call("POST", visit.members, wrong)
            #expect(refused.status == 400)
            #expect(refused["errors"].array?.first?["field"] == "tags.item:0")
            try await visit.call("DELETE", path)
            let back: JSON = ["email_address": "ann@people.test", "status": "subscribed", "tags": ["Green"]]
            #expect(try await visit.call("POST", visit.members, back).status == 200)
            #expect(try await names(visit, "ann@people.test") == ["Red", "Blue", "Green"])
        }
    }

    @Test("a bulk call adds tags or, when asked, replaces them; a switch says whether it looks at them at all")
    func bulk() async throws {
        try await visit { visit in
            func write(_ tags: JSON, sync: Bool) async throws {
                let members: JSON = [["email_address": "ann@people.test", "status": "subscribed", "tags": tags]]
                let reading = try await visit.call(
                    "POST", "/3.0/lists/\(visit.list)",
                    ["members": members, "update_existing": true, "sync_tags": .bool(sync)])
                #expect(reading["error_count"] == 0)
            }
            try await write(["Red", "Blue"], sync: false)
            try await write(["Green"], sync: false)
            #expect(try await names(visit, "ann@people.test") == ["Red", "Blue", "Green"])
            try await write(["blue", "New"], sync: true)
            #expect(try await names(visit, "ann@people.test") == ["Blue", "New"])
            try await visit.control("PATCH", "/sandbox/switches", ["bulk_applies_tags": false])
            try await write(["Late"], sync: true)
            #expect(try await names(visit, "ann@people.test") == ["Blue", "New"])
        }
    }

    @Test("a member tells of fifty tags and counts all of them")
    func many() async throws {
        try await visit { visit in
            let tags = (0..<60).map { JSON.string("tag \($0)") }
            let made = try await visit.call(
                "POST", visit.members,
                ["email_address": "ann@people.test", "status": "subscribed", "tags": .array(tags)])
            #expect(made["tags_count"] == 60)
            #expect(made["tags"].array?.count == 50)
            let all = try await visit.call("GET", "\(visit.member("ann@people.test"))/tags?count=7&offset=55")
            #expect(all["tags"].array?.count == 5)
            #expect(all["total_items"] == 60)
        }
    }
}
