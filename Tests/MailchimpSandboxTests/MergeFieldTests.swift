import Testing

@testable import MailchimpSandbox

/// Merge fields and their values.
@Suite struct MergeFieldTests {
    private func patch(_ visit: Visit, _ fields: JSON, query: String = "") async throws -> Reading {
        try await visit.call("PATCH", visit.member("ann@people.test") + query, ["merge_fields": fields])
    }

    private func withFields(_ body: (Visit) async throws -> Void) async throws {
        try await visit { visit in
            let path = "/3.0/lists/\(visit.list)/merge-fields"
            for type in ["number", "date", "birthday", "zip", "url", "dropdown"] {
                let options: JSON = type == "dropdown" ? ["choices": ["red", "blue"]] : [:]
                let made = try await visit.call(
                    "POST", path,
                    [
                        "name": .string(type), "tag": .string(type.uppercased()), "type": .string(type),
                        "options": options,
                    ])
                #expect(made.status == 200)
            }
            try await visit.make("ann@people.test", .subscribed)
            try await body(visit)
        }
    }

    @Test("values come back in the type of their field, and an empty text clears any of them")
    func values() async throws {
        try await withFields { visit in
            let given: JSON = [
                "NUMBER": "15.5", "DATE": "12/21/1980", "BIRTHDAY": "02/29", "ZIP": "12345",
                "URL": "https://people.test",
                "DROPDOWN": "red", "FNAME": "Ann",
            ]
            let fields = try await patch(visit, given)["merge_fields"]
            #expect(fields["NUMBER"] == .number(15.5))
            #expect(fields["DATE"] == "1980-12-21")
            #expect(fields["BIRTHDAY"] == "02/29")
            let cleared = try await patch(visit, ["NUMBER": "", "DATE": "", "FNAME": ""])["merge_fields"]
            #expect(cleared["NUMBER"] == "")
            #expect(cleared["DATE"] == "")
            #expect(cleared["FNAME"] == "")
            #expect(cleared["ZIP"] == "12345")
        }
    }

    @Test("one wrong value refuses the whole call and writes nothing")
    func wrong() async throws {
        try await withFields { visit in
            let wrong: [(String, JSON)] = [
                ("NUMBER", "abc"), ("DATE", "1980-13-01"), ("BIRTHDAY", "31/12"), ("ZIP", "1234 AB"),
                ("DROPDOWN", "green"),
                ("ADDRESS", ["addr1": "Street 1"]),
            ]
            for (tag, value) in wrong {
                let reading = try await patch(visit, .object(["FNAME": "Changed", "\(tag)": value]))
                #expect(reading.status == 400, "\(tag)")
                #expect(reading["detail"] == "Your merge fields were invalid.")
                #expect(reading["errors"].array?.first?["field"] == .string(tag))
            }
            #expect(try await visit.call("GET", visit.member("ann@people.test"))["merge_fields"]["FNAME"] == "")
        }
    }

    @Test("a text is cut to 255 bytes without splitting a character, and unknown tags are ignored")
    func text() async throws {
        try await withFields { visit in
            let reading = try await patch(
                visit, ["FNAME": .string(String(repeating: "é", count: 200)), "mailchimp_id": "x"])
            let name = try #require(reading["merge_fields"]["FNAME"].string)
            #expect(name == String(repeating: "é", count: 127))
        }
    }

    @Test("a tag is unique, short and derived when not given")
    func tags() async throws {
        try await visit { visit in
            let path = "/3.0/lists/\(visit.list)/merge-fields"
            #expect(try await visit.call("POST", path, ["name": "x", "type": "text", "tag": "FNAME"]).status == 400)
            #expect(
                try await visit.call("POST", path, ["name": "x", "type": "text", "tag": "MUCHTOOLONG"]).status == 400)
            #expect(try await visit.call("POST", path, ["name": "x", "type": "nothing"]).status == 400)
            let derived = try await visit.call("POST", path, ["name": "Joined at", "type": "date"])
            #expect(derived["tag"] == "JOINEDAT")
            let all = try await visit.call("GET", "\(path)?count=100")
            #expect(
                all["merge_fields"].array?.compactMap { $0["tag"]?.string } == [
                    "FNAME", "LNAME", "ADDRESS", "PHONE", "JOINEDAT",
                ])
        }
    }
}

extension JSON {
    /// A part of an object; nothing when it is not there.
    fileprivate subscript(key: String) -> JSON { object?[key] ?? .null }
}
