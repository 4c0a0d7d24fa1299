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
                ("DROPDOWN", "green"), ("URL", "people"), ("DATE", "31/12/2020"), ("BIRTHDAY", "02/30"),
                ("BIRTHDAY", "02/29/1980"), ("NUMBER", "1,5"), ("ZIP", 1234), ("ADDRESS", ["addr1": "Street 1"]),
                ("ADDRESS", ["addr1": "Street 1", "city": "Town", "state": "NH", "zip": ""]),
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

    @Test("a value of another shape is told as a schema error")
    func shapes() async throws {
        try await withFields { visit in
            let wrong: [(String, JSON)] = [
                ("ADDRESS", "Street 1"), ("ADDRESS", []), ("FNAME", [:]), ("NUMBER", true), ("DATE", ["x"]),
            ]
            for (tag, value) in wrong {
                let reading = try await patch(visit, .object(["\(tag)": value]))
                #expect(reading.status == 400, "\(tag)")
                #expect(reading["errors"].array?.first?["field"] == .string("merge_fields.item:\(tag)"))
            }
        }
    }

    @Test("an address is whole or empty, and in the United States unless it says otherwise")
    func addresses() async throws {
        try await withFields { visit in
            let whole: JSONObject = ["addr1": "Street 1", "city": "Town", "state": "NH", "zip": "1234 AB"]
            let kept: JSON = try await patch(visit, ["ADDRESS": .object(whole)])["merge_fields"]["ADDRESS"]
            #expect(kept["country"] == "US")
            #expect(kept["addr2"] == "")
            let empty: JSON = ["addr1": "", "city": "", "state": "", "zip": "", "country": ""]
            #expect(try await patch(visit, ["ADDRESS": empty])["merge_fields"]["ADDRESS"] == "")
        }
    }

    @Test("a phone number in the American format has ten digits, unless a switch lets all pass")
    func phones() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let made = try await visit.call(
                "POST", "/3.0/lists/\(visit.list)/merge-fields",
                ["name": "Call", "tag": "CALL", "type": "phone", "options": ["phone_format": "US"]])
            #expect(made["options"] == ["phone_format": "US"])
            #expect(try await patch(visit, ["CALL": "(404) 555-0100", "PHONE": "000"]).status == 200)
            #expect(try await patch(visit, ["CALL": "000"]).status == 400)
            try await visit.control("PATCH", "/sandbox/switches", ["checks_phones": false])
            #expect(try await patch(visit, ["CALL": "000"]).status == 200)
        }
    }

    @Test("a field is changed but for its type; its values follow its tag and go with it")
    func changes() async throws {
        try await withFields { visit in
            let path = "/3.0/lists/\(visit.list)/merge-fields"
            _ = try await patch(visit, ["NUMBER": 7, "DATE": "2020-02-29", "URL": "https://people.test/a"])
            let changed = try await visit.call(
                "PATCH", "\(path)/5",
                [
                    "name": "Points", "tag": "points", "type": "text", "required": true, "public": true,
                    "default_value": "1",
                ])
            #expect(changed["tag"] == "POINTS")
            #expect(changed["type"] == "number")
            #expect(changed["required"] == true)
            let member = try await visit.call("GET", visit.member("ann@people.test"))["merge_fields"]
            #expect(member["POINTS"] == 7)
            #expect(member["NUMBER"] == .null)
            #expect(try await visit.call("PATCH", "\(path)/5", ["tag": "FNAME"]).status == 400)
            #expect(try await visit.call("PATCH", "\(path)/5", ["tag": "POINTS"]).status == 200)
            #expect(try await visit.call("DELETE", "\(path)/5").status == 204)
            #expect(try await visit.call("GET", "\(path)/5").status == 404)
            let left = try await visit.call("GET", visit.member("ann@people.test"))["merge_fields"]
            #expect(left["POINTS"] == .null)
            #expect(left["DATE"] == "2020-02-29")
            #expect(left["URL"] == "https://people.test/a")
            let next = try await visit.call("POST", path, ["name": "Next", "type": "text"])
            #expect(next["merge_id"] == 11, "a number is not given away twice")
        }
    }

    @Test("a list has thirty fields, or eighty by a switch")
    func limit() async throws {
        try await visit { visit in
            let path = "/3.0/lists/\(visit.list)/merge-fields"
            for number in 5...30 {
                let made = try await visit.call("POST", path, ["name": .string("Field \(number)"), "type": "text"])
                #expect(made.status == 200)
            }
            let more: JSON = ["name": "Ünïcödé", "type": "text"]
            #expect(try await visit.call("POST", path, more).title == "Merge Max Limit Exceeded")
            try await visit.control("PATCH", "/sandbox/switches", ["allows_many_merge_fields": true])
            #expect(try await visit.call("POST", path, more)["tag"] == "NCD")
            #expect(try await visit.call("POST", path, ["name": "Ü", "type": "text"])["tag"] == "MMERGE32")
        }
    }

    @Test("a required field refuses a new member and an edit, and a default fills it")
    func required() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let path = "/3.0/lists/\(visit.list)/merge-fields"
            let made = try await visit.call(
                "POST", path, ["name": "Points", "tag": "POINTS", "type": "number", "required": true])
            let new: JSON = ["email_address": "bee@people.test", "status": "subscribed"]
            let refused = try await visit.call("POST", visit.members, new)
            #expect(refused["errors"] == [["field": "POINTS", "message": "Please enter a value"]])
            #expect(try await patch(visit, ["FNAME": "Ann"]).status == 400)
            #expect(try await patch(visit, ["FNAME": "Ann"], query: "?skip_merge_validation=true").status == 200)
            #expect(try await patch(visit, ["POINTS": "x"], query: "?skip_merge_validation=true").status == 400)
            let id = try #require(made["merge_id"].integer)
            try await visit.call("PATCH", "\(path)/\(id)", ["default_value": "3"])
            #expect(try await visit.call("POST", visit.members, new)["merge_fields"]["POINTS"] == 3)
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
