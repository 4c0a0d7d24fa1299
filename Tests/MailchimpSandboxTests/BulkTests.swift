import Testing

@testable import MailchimpSandbox

/// `POST /lists/{id}`.
@Suite struct BulkTests {
    private func bulk(
        _ visit: Visit, _ addresses: [String], query: String = "", updates: Bool = false, status: String = "subscribed"
    )
        async throws -> Reading
    {
        let members = addresses.map { address -> JSON in ["email_address": .string(address), "status": .string(status)]
        }
        return try await visit.call(
            "POST", "/3.0/lists/\(visit.list)\(query)", ["members": .array(members), "update_existing": .bool(updates)])
    }

    @Test("five hundred are made in one call, one more is too many")
    func limit() async throws {
        try await visit { visit in
            let all = (0..<501).map { "person\($0)@people.test" }
            #expect(try await bulk(visit, all).status == 400)
            let made = try await bulk(visit, Array(all.prefix(500)))
            #expect(made["total_created"] == 500)
            #expect(made["new_members"].array?.count == 500)
            #expect(try await visit.call("GET", "\(visit.members)?fields=total_items")["total_items"] == 500)
        }
    }

    @Test("every address has a result of its own, and the call is 200 even when none succeeds")
    func errors() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            try await visit.make("gone@people.test", .forgotten)
            let reading = try await bulk(visit, ["ann@people.test", "gone@people.test", "bad", "new@people.test"])
            #expect(reading.status == 200)
            #expect(reading["total_created"] == 1)
            #expect(reading["error_count"] == 3)
            let codes = reading["errors"].array?.compactMap { $0["error_code"]?.string }
            #expect(codes == ["ERROR_CONTACT_EXISTS", "ERROR_GENERIC", "ERROR_GENERIC"])
        }
    }

    @Test("an address that comes twice is an error, unless the check is skipped: then the first wins")
    func duplicates() async throws {
        try await visit { visit in
            let checked = try await bulk(visit, ["a@people.test", "A@people.test"])
            #expect(checked["total_created"] == 1)
            #expect(checked["error_count"] == 1)
            let skipped = try await bulk(
                visit, ["b@people.test", "B@people.test"], query: "?skip_duplicate_check=true")
            #expect(skipped["total_created"] == 1)
            #expect(skipped["error_count"] == 0)
        }
    }

    @Test("updating never subscribes who said no, with an error or in silence")
    func ownNo() async throws {
        for silent in [true, false] {
            try await visit { visit in
                try await visit.control("PATCH", "/sandbox/switches", ["bulk_refuses_silently": .bool(silent)])
                try await visit.make("ann@people.test", .unsubscribedByContact)
                let reading = try await bulk(visit, ["ann@people.test"], updates: true)
                #expect(reading["total_updated"] == (silent ? 1 : 0))
                #expect(reading["error_count"] == (silent ? 0 : 1))
                #expect(try await visit.call("GET", visit.member("ann@people.test"))["status"] == "unsubscribed")
            }
        }
    }

    @Test("an archived contact is revived, or exists, by a switch")
    func archived() async throws {
        for revives in [true, false] {
            try await visit { visit in
                try await visit.control("PATCH", "/sandbox/switches", ["bulk_revives_archived": .bool(revives)])
                try await visit.make("ann@people.test", .archived)
                let reading = try await bulk(visit, ["ann@people.test"])
                #expect(reading["total_created"] == (revives ? 1 : 0))
                if !revives { #expect(reading["errors"].array?.first?["error_code"] == "ERROR_CONTACT_EXISTS") }
            }
        }
    }

    @Test("a required merge field refuses the member unless its validation is skipped")
    func required() async throws {
        try await visit { visit in
            try await visit.call(
                "POST", "/3.0/lists/\(visit.list)/merge-fields",
                ["name": "Number", "tag": "NUMBER", "type": "number", "required": true])
            let refused = try await bulk(visit, ["a@people.test"])
            let error = try #require(refused["errors"].array?.first)
            #expect(error["field"] == "NUMBER")
            #expect(error["field_message"] == "Please enter a value")
            let skipped = try await bulk(visit, ["a@people.test"], query: "?skip_merge_validation=true")
            #expect(skipped["total_created"] == 1)
        }
    }
}
