import Foundation
import TestSupport
import Testing

@testable import Mailchimp

@Suite struct RawPageTests {
    @Test(arguments: [
        #"{"members":[]}"#, " {\"a\":[1,{\"b\":\"}\"}],\"members\":[ ]}\r\n\t",
        #"{"a":"\"]\\\/\b\f\n\r\t","members":[{}]}"#,
        #"{"members":[{"a":"\ud83d\ude00 \u00e9"}, {}],"total_items":-0.5e+10}"#,
        #"{"members":[{"members":[1,true,false,null,0,-1,1E5,"",{}]}],"members ":1}"#,
    ])
    func `A whole object with its list passes unchanged`(json: String) {
        #expect(page(json) == json)
        #expect(page("\u{feff}" + json) == json)
    }

    @Test(arguments: [
        "", " ", "null", "[]", "{", "{\"a\":[}", "{\"a\":\"", "{}{}", "{} x", "<html></html>", "{\"a\":\"\\",
        "{\"a\":\"\\u12", "}", "{]", "{\"a\":1}]", #"{"members":[]"#, #"{"members":[]}}"#, #"{"members":[]}{}"#,
    ])
    func `What is cut off or no object is refused`(json: String) {
        #expect(page(json) == nil)
    }

    @Test(arguments: [
        "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "Infinity", "1e1000", "1e-1000", "tru", "True", "nul",
        "\"\t\"", "\"\\x\"", "\"\\u12g4\"", "\"\\u+123\"", "'a'", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{,}", "{a:1}",
        "[1,]", "[,]", "[1 2]", "\u{0c}1", "", "// 1", "\u{a0}1", String(repeating: "9", count: 101),
        String(repeating: "[", count: 64) + String(repeating: "]", count: 64),
    ])
    func `What jsonb would refuse is refused here`(value: String) {
        #expect(page(#"{"members":[],"a":\#(value)}"#) == nil)
        #expect(page(#"{"members":[{"a":\#(value)}]}"#) == nil)
    }

    @Test(arguments: [
        "{}", #"{"members":null}"#, #"{"members":{}}"#, #"{"members":[1]}"#, #"{"members":[{},null]}"#,
        #"{"Members":[]}"#, #"{"a":{"members":[]}}"#, #"{"members":[],"members":[{}]}"#, #"{"\u006dembers":[]}"#,
    ])
    func `Without the one list that was asked for an object says nothing`(json: String) {
        #expect(page(json) == nil)
    }

    @Test func `Bytes that are not UTF-8 are refused`() {
        let bytes = Array(#"{"members":[],"a":""#.utf8) + [0xff] + Array(#""}"#.utf8)
        #expect(RawPage(bytes, of: "members") == nil)
    }

    @Test(arguments: [
        (#"\u0000"#, #"\ufffd"#), (#"x\ud83d"#, #"x\ufffd"#), (#"\ude00y"#, #"\ufffdy"#),
        (#"\ud83d\u0041"#, #"\ufffd\u0041"#), (#"\ud83d\ud83d\ude00"#, #"\ufffd\ud83d\ude00"#),
        (#"\\u0000"#, #"\\u0000"#), (#"\uD83D\n\u0000"#, #"\ufffd\n\ufffd"#),
    ])
    func `What jsonb does not store in a string is replaced`(text: String, repaired: String) {
        #expect(page(#"{"members":[{"a":"\#(text)"}]}"#) == #"{"members":[{"a":"\#(repaired)"}]}"#)
    }

    @Test(
        arguments: [
            (#""2021-11-23T22:51:56+00:00""#, nil), (#""""#, nil), ("null", nil), (#""2021-11-23 22:51:56""#, nil),
            (#""infinity""#, #""""#), (#""now""#, #""""#), (#""2021-02-30T00:00:00Z""#, #""""#), ("5", #""""#),
            ("true", #""""#), ("{}", #""""#), (#"["\u0000"]"#, #""""#), (#""\u0000""#, #""""#),
            (#""\u0032021-11-23T22:51:56Z""#, #""""#),
        ] as [(String, String?)])
    func `A moment that is none costs its contact the moment and not the page`(moment: String, repaired: String?) {
        func around(_ moment: String, _ text: String) -> String {
            #"{"members":[{"a":"\#(text)","last_changed":\#(moment),"timestamp_opt":\#(moment),"b":"\#(text)"},{}],"#
                + #""last_changed":"now"}"#
        }
        #expect(page(around(moment, "\\u0000")) == around(repaired ?? moment, "\\ufffd"))
    }

    @Test func `Each contact's id and last change are known, without its other values`() throws {
        let json = #"""
            {"other":[{"contact_id":"x","last_changed":"2020-01-01T00:00:00Z"}],"members":[
            {"contact_id":"a","tags":[{"contact_id":"b"}],"last_changed":"2021-11-23T22:51:56+00:00",
             "merge":{"contact_id":"c"}},
            {"contact_id":null,"last_changed":""},{"last_changed":"now","contact_id":""},{}],"contact_id":"d"}
            """#
        let page = try #require(RawPage(Array(json.utf8), of: "members"))
        #expect(page.contacts.map(\.id) == ["a", nil, "", nil])
        #expect(page.contacts.map(\.lastChanged) == [Date(timeIntervalSince1970: 1_637_707_916), nil, nil, nil])
    }

    @Test func `No part of a page passes for the whole, and no noise crashes it`() throws {
        let whole = Array(#"{"members":[{"id":"\ud83d\ude00\u0000","n":[1,2,{"x":"\\\""}]}],"total_items":1}"#.utf8)
        for end in whole.indices { #expect(RawPage(Array(whole[..<end]), of: "members") == nil) }
        var seed = Seed()
        for _ in 1...2000 {
            var noisy = whole
            for _ in 1...3 {
                noisy[Int.random(in: noisy.indices, using: &seed)] = UInt8.random(in: 0...127, using: &seed)
            }
            // Whatever passes is JSON to another parser as well.
            guard let page = RawPage(noisy, of: "members") else { continue }
            let other = try JSONSerialization.jsonObject(with: Data(page.bytes)) as? [String: Any]
            #expect(other?["members"] is [Any])
        }
    }

    private func page(_ json: String) -> String? {
        RawPage(Array(json.utf8), of: "members").map { String(decoding: $0.bytes, as: UTF8.self) }
    }
}
