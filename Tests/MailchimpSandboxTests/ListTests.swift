import Testing

@testable import MailchimpSandbox

/// Lists, their settings and their figures.
@Suite struct ListTests {
    private let settings: JSON = [
        "name": "Members", "permission_reminder": "You are a member.", "email_type_option": true,
        "contact": ["company": "Club", "address1": "Street 1", "city": "Town", "country": "NL"],
        "campaign_defaults": [
            "from_name": "Club", "from_email": "club@people.test", "subject": "", "language": "nl",
        ],
    ]

    @Test("a list is made, changed in part, and deleted with everybody in it")
    func settings() async throws {
        try await visit { visit in
            let made = try await visit.call("POST", "/3.0/lists", settings)
            #expect(made.status == 200)
            #expect(made["contact"]["city"] == "Town")
            let path = "/3.0/lists/\(try #require(made["id"].string))"
            let changed = try await visit.call("PATCH", path, ["name": "Friends", "contact": ["city": "Village"]])
            #expect(changed["name"] == "Friends")
            #expect(changed["contact"]["city"] == "Village")
            #expect(changed["contact"]["company"] == "Club")
            let wrong = try await visit.call("PATCH", path, ["name": 1, "contact": ["city": 2], "double_optin": "yes"])
            #expect(
                wrong["errors"].array?.compactMap { $0["field"]?.string } == [
                    "name", "contact.city", "double_optin",
                ])
            #expect(try await visit.call("GET", path)["name"] == "Friends")
            let short = try await visit.call("POST", "/3.0/lists", ["name": "Members"])
            #expect(short.status == 400)
            #expect(try await visit.call("DELETE", path).status == 204)
            #expect(try await visit.call("GET", path).status == 404)
            #expect(try await visit.call("GET", "/3.0/lists")["total_items"] == 1)
        }
    }

    @Test("the figures of a list are those of the last look that is five minutes old")
    func statistics() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            func count(_ figure: String = "member_count", _ query: String = "") async throws -> JSON {
                try await visit.call("GET", "/3.0/lists/\(visit.list)\(query)")["stats"][figure] ?? .null
            }
            try await visit.make("ann@people.test", .subscribed)
            try await visit.make("bee@people.test", .archived)
            #expect(try await count() == 0)
            clock.advance(299)
            #expect(try await count() == 0)
            clock.advance(1)
            #expect(try await count() == 0, "this look sees the old figures and fetches the new ones")
            #expect(try await count() == 1)
            #expect(try await count("last_sub_date") == "2023-11-14T22:13:20+00:00")
            #expect(try await count("total_contacts") == .null)
            #expect(try await count("total_contacts", "?include_total_contacts=true") == 2)
            try await visit.make("cid@people.test", .unsubscribedByAPI)
            #expect(try await count("unsubscribe_count") == 0)
            #expect(try await visit.call("GET", "\(visit.members)?fields=total_items")["total_items"] == 2)
            try await visit.control("PATCH", "/sandbox/switches", ["statistics_are_late": false])
            #expect(try await count("unsubscribe_count") == 1)
        }
    }

    @Test("lists are found by the address of a contact and by their age, in either order")
    func collection() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            clock.advance(60)
            let second = await visit.sandbox.addList(name: "Second")
            try await visit.make("ann@people.test", .subscribed)
            func ids(_ query: String) async throws -> [String] {
                let reading = try await visit.call("GET", "/3.0/lists?\(query)")
                return reading["lists"].array?.compactMap { $0["id"]?.string } ?? []
            }
            #expect(try await ids("sort_field=date_created&sort_dir=DESC") == [second, visit.list])
            #expect(try await ids("email=ann@people.test") == [visit.list])
            #expect(try await ids("since_date_created=2023-11-14T22:13:20Z") == [second])
            #expect(try await ids("count=1&offset=1") == [second])
        }
    }
}
