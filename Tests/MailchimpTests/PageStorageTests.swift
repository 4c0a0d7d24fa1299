import Foundation
import Postgres
import TestSupport
import Testing

@testable import Mailchimp

/// Random pages, nearly right, against PostgreSQL itself.
@Suite(.emptyDatabase) struct PageStorageTests {
    @Test func `What passes as a page, PostgreSQL takes, moments and all`() async throws {
        var seed = Seed()
        var pages = 0
        for _ in 1...400 {
            let members = (0..<3).map { _ in
                #"{"id":\#(text(&seed)),"last_changed":\#(moment(&seed)),"timestamp_opt":\#(moment(&seed)),"#
                    + #""odd":\#(value(&seed, 0))}"#
            }
            let json = #"{"members":[\#(members.joined(separator: ","))],"odd":\#(value(&seed, 0))}"#
            guard let page = RawPage(Array(json.utf8), of: "members") else { continue }
            pages += 1
            let rows = try await TestDatabase.current.pool.query(
                """
                select count(m ->> 'id') as ids, count(nullif(m ->> 'last_changed', '')::timestamptz) as changed,
                    count(nullif(m ->> 'timestamp_opt', '')::timestamptz) as opted_in
                from jsonb_array_elements(\(JSONText(utf8: page.bytes))::jsonb -> 'members') m
                """)
            #expect(try rows.first?.decode("ids", as: Int64.self) == 3)
        }
        // The generator would prove nothing if everything were refused.
        #expect(pages > 100)
    }

    private func text(_ seed: inout Seed) -> String {
        let parts = [
            "a", #"\u0000"#, #"\ud83d"#, #"\ude00"#, #"\ud83d\ude00"#, #"\n"#, #"\/"#, "é", "\u{2028}", "\u{7f}",
            #"\""#,
            #"\\"#, #"\uDBFF\uDFFF"#, #"\ufeff"#, "\u{10ffff}",
        ]
        let chosen = (0..<Int.random(in: 0...5, using: &seed)).map { _ in parts.randomElement(using: &seed) ?? "" }
        return "\"\(chosen.joined())\""
    }

    private func value(_ seed: inout Seed, _ depth: Int) -> String {
        let numbers = ["-0", "1.5", "1E-9", String(repeating: "9", count: 99), "1e999", "-1.25e-999", "1e+0", "1e1000"]
        switch Int.random(in: depth < 4 ? 0...11 : 2...11, using: &seed) {
        case 0: return "[\(value(&seed, depth + 1)),\(value(&seed, depth + 1))]"
        case 1: return "{\(text(&seed)):\(value(&seed, depth + 1))}"
        case 2...4: return numbers.randomElement(using: &seed) ?? "0"
        case 5...6: return ["true", "false", "null"].randomElement(using: &seed) ?? "null"
        default: return text(&seed)
        }
    }

    private func moment(_ seed: inout Seed) -> String {
        if Int.random(in: 0...4, using: &seed) == 0 { return value(&seed, 2) }
        func two(_ range: ClosedRange<Int>) -> String {
            let number = Int.random(in: range, using: &seed)
            return number < 10 ? "0\(number)" : "\(number)"
        }
        let year = ["0000", "1583", "1900", "2021", "2024", "9999"].randomElement(using: &seed) ?? "2021"
        let zones = ["", "Z", "+00:00", "-15:59", "+1559", "+16:00", "-02", "+02:60"]
        let fractions = ["", ".5", ".123456789", ".", ".0000000000001"]
        let day = "\(year)-\(two(1...13))-\(two(1...32))"
        let time = "\(two(0...24)):\(two(0...60)):\(two(0...61))"
        let end = (fractions.randomElement(using: &seed) ?? "") + (zones.randomElement(using: &seed) ?? "")
        return "\"\(day)T\(time)\(end)\""
    }
}
