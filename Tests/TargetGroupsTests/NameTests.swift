import Postgres
import TargetGroups
import TargetGroups
import TestSupport
import Testing

@Suite("Names as others see them")
struct NameTests {
    @Test("the first name is the given name, else the initials", .database)
    func firstName() async throws {
        let cases: [(String?, String?, String)] = [("Jan", "J.", "Jan"), (nil, "J.", "J."), (nil, nil, "")]
        for (given, initials, expected) in cases {
            let name = try await TestDatabase.current.pool.query(
                "select koppeling.first_name(\(given)::text, \(initials)::text)")
            #expect(try name.scalar(as: String.self) == expected)
        }
    }

    @Test("the last name is prefixes and family name, with one space and never doubled", .database)
    func lastName() async throws {
        let cases: [(String?, String?, String)] = [
            ("van der", "Berg", "van der Berg"), (nil, "Berg", "Berg"), ("'t", "Hart", "'t Hart"),
            ("d'", "Hondt", "d' Hondt"), ("Van Den", "Bossche", "Van Den Bossche"),
            (nil, "van der Berg", "van der Berg"), ("van der", "van der Berg", "van der Berg"),
            ("van der", "Van der Berg", "Van der Berg"), ("de", nil, "de"), (nil, nil, ""),
        ]
        for (prefixes, family, expected) in cases {
            let name = try await TestDatabase.current.pool.query(
                "select koppeling.last_name(\(prefixes)::text, \(family)::text)")
            #expect(try name.scalar(as: String.self) == expected)
        }
    }

    @Test("all spellings of an address have one key", .database)
    func keys() async throws {
        let cases = [
            ("Jan@X.nl ", "jan@x.nl"), ("JAN+a.b@x.nl", "jan+a.b@x.nl"), ("é@x.nl", "e\u{301}@X.NL"),
            ("jan@Bücher.nl", "jan@xn--bcher-kva.nl"), ("jan@bu\u{308}cher.nl", "jan@xn--bcher-kva.nl"),
            ("a@例え.jp", "a@xn--r8jz45g.jp"),
        ]
        for (one, two) in cases {
            let same = try await TestDatabase.current.pool.query(
                "select koppeling.address_key(\(one)::text) = koppeling.address_key(\(two)::text)")
            #expect(try same.scalar(as: Bool.self), "\(one) and \(two)")
        }
    }

    @Test("letters are composed, and kept as they are written", .database)
    func letters() async throws {
        let world = World()
        let cases: [(String, String)] = [
            ("Jose\u{301}", "Jos\u{e9}"), ("Ø", "Ø"), ("Weiß", "Weiß"), ("Dĳk", "Dĳk"), ("שלום", "שלום"), ("👩‍👧", "👩‍👧"),
            ("  van\u{a0}den   Berg ", "van den Berg"), ("İpek", "İpek"),
        ]
        for (given, expected) in cases {
            try await world.put("1", name: given)
            let name = try await world.persons.find(source: "crm", id: "1")?.familyName
            // Bytes are compared: to Swift two compositions of a letter are equal.
            #expect(name.map { Array($0.utf8) } == Array(expected.utf8))
            try await world.evaluate()
            try await world.put("1", name: given)
            let waiting = try await world.pool.query("select count(*) from koppeling.evaluation_request")
            #expect(try waiting.scalar(as: Int64.self) == 0)
        }
    }
}
