import Testing

@testable import MailchimpSandbox

/// The check that every answer in these suites goes through.
@Suite struct ConformanceTests {
    @Test("the check sees a field that is missing, unknown, of another type or of another value")
    func checks() {
        let book = ShapeBook(
            calls: "GET,PUT /things/{thing} Thing",
            objects: "Thing: id string, at time, size integer,\n  kind string(a|b), parts [Part]\nPart: name string")
        func findings(_ value: JSON, isPartial: Bool = false) -> [String] {
            book.findings(in: value, as: "Thing", isPartial: isPartial).map(\.description)
        }
        #expect(book.object(of: "PUT", "/things/1") == "Thing")
        #expect(book.object(of: "POST", "/things/1") == nil)
        #expect(book.object(of: "GET", "/things") == nil)
        let right: JSON = ["id": "x", "at": "2023-11-14T22:13:20+00:00", "size": 1, "kind": "a", "parts": []]
        #expect(findings(right) == [])
        let wrong: JSON = [
            "id": 1, "at": "soon", "size": 1.5, "kind": "c", "parts": [["name": "x"], ["name": .null, "more": 1]],
        ]
        #expect(
            findings(wrong) == [
                "Thing.id is of type integer", "Thing.at is \"soon\"", "Thing.size is of type number",
                "Thing.kind is \"c\"", "Part.name is of type null", "Part.more is not in the specification",
            ])
        #expect(findings(["id": "x"], isPartial: true) == [])
        #expect(findings(["id": "x"]).count == 4)
        #expect(findings([]) == ["Thing. is of type array"])
    }

    @Test("every field of the table has a shape that is known")
    func table() {
        let objects = OfficialShapes.objects.split(separator: "\n").filter { !$0.hasPrefix(" ") }
        #expect(objects.count > 40)
        func check(_ shape: Shape) {
            switch shape {
            case .object(let name): #expect(!ShapeBook.official.fields(of: name).isEmpty, "\(name)")
            case .list(let element), .map(let element): check(element)
            default: break
            }
        }
        for object in objects {
            for field in ShapeBook.official.fields(of: String(object.prefix { $0 != ":" })) { check(field.shape) }
        }
    }

    @Test("every call of the table is one that the sandbox has")
    func calls() {
        for line in OfficialShapes.calls.split(separator: "\n") {
            let words = line.split(separator: " ")
            let path = Call.segments(of: words[1]).map { $0.hasPrefix("{") ? "7" : $0 }
            let methods = Endpoint(path)?.methods ?? []
            for method in words[0].split(separator: ",") { #expect(methods.contains(String(method)), "\(line)") }
        }
    }

    @Test("every known exception is still needed")
    func exceptions() async throws {
        try await visit { visit in
            let ann: JSON = [
                "email_address": "ann@people.test", "status": "subscribed", "merge_fields": ["FNAME": "A"],
            ]
            var needed: Set<KnownException> = []
            func provoke(_ method: String, _ path: String, _ body: JSON? = nil) async throws {
                let reading = try await visit.call(method, path, body)
                let findings = Conformance.findings(method, path, reading)
                needed.formUnion(
                    KnownException.allCases.filter { exception in
                        findings.contains { exception.covers($0, in: reading.json) }
                    })
            }
            try await provoke("POST", visit.members, ann)
            try await provoke("POST", visit.members, ann)
            try await provoke("POST", visit.members, ["email_address": 1])
            try await provoke("GET", "/3.0/lists/\(visit.list)/merge-fields")
            try await provoke("GET", "/3.0/lists/\(visit.list)")
            try await provoke("POST", "/3.0/lists/\(visit.list)/segments", ["name": "Red", "static_segment": []])
            try await visit.control("POST", "\(visit.door)/members/ann@people.test/contact/complain", [:])
            try await provoke("GET", "\(visit.member("ann@people.test"))/activity")
            try await withReceiver { receiver in
                try await provoke("POST", "/3.0/lists/\(visit.list)/webhooks", ["url": .string(receiver.url)])
            }
            #expect(Set(KnownException.allCases).subtracting(needed) == [], "these could be taken back")
        }
    }
}
