import Testing

@testable import MailchimpSandbox

/// The small things that everything else stands on.
@Suite struct TextTests {
    @Test(
        "a JSON text is written as it was read",
        arguments: [
            #"{"a":1,"b":[true,false,null],"c":{"d":"x"}}"#, #"[]"#, #"{}"#, #""é\n\"\\""#, #"-1.5"#, #"0"#,
        ])
    func roundTrip(text: String) throws {
        let value = try JSON(parsing: Array(text.utf8))
        #expect(String(decoding: value.bytes, as: UTF8.self) == text)
    }

    @Test("escapes are understood, surrogate pairs too")
    func escapes() throws {
        #expect(try JSON(parsing: Array(#""\u00e9\ud83d\ude00\/""#.utf8)) == "é😀/")
    }

    @Test(
        "what is not JSON is refused",
        arguments: ["", "{", "[1,]", "{\"a\"}", "nul", "1 2", "\"\u{1}\"", "\"\\x\"", "+", "1e999"])
    func refused(text: String) {
        #expect(throws: JSONSyntaxError.self) { try JSON(parsing: Array(text.utf8)) }
    }

    @Test("deep nesting is refused and does not exhaust the stack")
    func deep() {
        #expect(throws: JSONSyntaxError.self) { try JSON(parsing: Array(repeating: UInt8(ascii: "["), count: 100_000)) }
    }

    @Test(
        "times are read in all their forms",
        arguments: [
            ("2021-11-23T22:51:56+00:00", 1_637_707_916_000), ("2021-11-23T22:51:56 00:00", 1_637_707_916_000),
            ("2021-11-23T23:51:56+01:00", 1_637_707_916_000), ("2021-11-23T22:51:56.250Z", 1_637_707_916_250),
            ("2021-11-23 22:51:56", 1_637_707_916_000), ("2021-11-23", 1_637_625_600_000), ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1000), ("2024-02-29", 1_709_164_800_000),
        ])
    func times(text: String, milliseconds: Int) {
        #expect(Timestamp.milliseconds(text) == milliseconds)
    }

    @Test(
        "what is no time is refused", arguments: ["", "yesterday", "2023-02-29", "2023-13-01", "2023-01-01T25:00:00Z"])
    func wrongTimes(text: String) {
        #expect(Timestamp.milliseconds(text) == nil)
    }

    @Test("a time is written as it is read")
    func writtenTimes() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<1000 {
            let seconds = Int.random(in: -1_000_000_000...5_000_000_000, using: &generator)
            #expect(Timestamp.milliseconds(Timestamp.text(seconds)) == seconds * 1000)
        }
    }

    @Test("addresses of machines are known by their form")
    func machines() {
        for right in ["127.0.0.1", "255.255.255.255", "::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "::ffff:10.0.0.1"] {
            #expect(IPAddress.isValid(right), "\(right)")
        }
        let wrong = [
            "", "1.2.3", "1.2.3.256", "1.2.3.+4", "a.b.c.d", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "12345::",
            "1:2:3:4:5:6:7:8:9", "1.2.3.4::", "g::",
        ]
        for wrong in wrong { #expect(!IPAddress.isValid(wrong), "\(wrong)") }
    }

    @Test("an identifier of 32 digits is kept in two words")
    func identifiers() {
        #expect(HexID(address: "Ann@Example.org").hex == "8b5a6a28fc840441be692d74a81ccd1a")
        #expect(HexID(hex: "8b5a6a28fc840441be692d74a81ccd1a") == HexID(address: "ann@example.org"))
        #expect(HexID(hex: "00000000000000000000000000000001")?.hex == "00000000000000000000000000000001")
        #expect(HexID(hex: "xyz") == nil)
    }

    @Test(
        "the address of a webhook is taken apart",
        arguments: [
            ("http://127.0.0.1:80/x?y=1", "127.0.0.1", 80, "/x?y=1"), ("http://host", "host", 80, "/"),
            ("http://[::1]:8080?z", "::1", 8080, "/?z"),
        ])
    func addresses(url: String, host: String, port: Int, path: String) throws {
        let target = try #require(PlainHTTP.Target(url))
        #expect(target.host == host)
        #expect(target.port == port)
        #expect(target.path == path)
        #expect(PlainHTTP.Target("https://host/") == nil)
    }
}
