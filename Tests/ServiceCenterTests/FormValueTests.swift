import Postgres
import Testing

@testable import ServiceCenter

@Suite("A form as Mailchimp sends it")
struct FormValueTests {
    private func parse(_ form: String) throws -> FormValue {
        try FormValue(urlEncoded: Array(form.utf8))
    }

    @Test func bracketsBecomeLevels() throws {
        let form = try parse(
            "type=subscribe&fired_at=2020-09-07+21%3A31%3A09&data%5Bemail%5D=ann%40example.org"
                + "&data[merges][GROUPINGS][0][name]=News&data[merges][FNAME]=Ren%C3%A9e")
        #expect(form["type"] == .text("subscribe"))
        #expect(form["fired_at"] == .text("2020-09-07 21:31:09"))
        #expect(form["data", "email"] == .text("ann@example.org"))
        #expect(form["data", "merges", "GROUPINGS", "0", "name"] == .text("News"))
        #expect(form["data", "merges", "FNAME"] == .text("Renée"))
    }

    @Test func emptyBracketsNumberTheValues() throws {
        let form = try parse("a[]=x&a[]=y")
        #expect(form["a"] == .fields(["0": .text("x"), "1": .text("y")]))
    }

    @Test func theLaterOfTwoValuesCounts() throws {
        #expect(try parse("a=1&a=2")["a"] == .text("2"))
        #expect(try parse("a=1&a[b]=2")["a", "b"] == .text("2"))
        #expect(try parse("a[b]=2&a=1")["a"] == .text("1"))
    }

    @Test(arguments: ["", "&&", "=x", "a[b=1", "[a]=1", "a]=1", "a=%", "a=%4", "a=%zz", "a=%ff%fe", "a[b]c=1", "%5B=1"])
    func oddFormsAreRead(form: String) throws {
        _ = try JSONText(encoding: parse(form))
    }

    @Test func nothingThatPostgresDoesNotKeepComesThrough() throws {
        #expect(try parse("a=x%00y")["a"] == .text("x\u{FFFD}y"))
        #expect(try parse("a%00=x")["a\u{FFFD}"] == .text("x"))
    }

    @Test func tooManyFieldsAreRefused() throws {
        let fields = (0...FormValue.mostFields).map { "f\($0)=1" }
        #expect(throws: FormValue.Refusal.tooManyFields) { try parse(fields.joined(separator: "&")) }
        _ = try parse(fields.dropLast().joined(separator: "&"))
    }

    @Test func tooManyLevelsAreRefused() throws {
        #expect(throws: FormValue.Refusal.tooDeep) { try parse("a" + String(repeating: "[b]", count: 8) + "=1") }
        _ = try parse("a" + String(repeating: "[b]", count: 7) + "=1")
    }
}
