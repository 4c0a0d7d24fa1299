import TestSupport
import Testing

@testable import Mailchimp

@Suite struct RawPageTests {
    @Test(arguments: [
        "{}", " {\"a\":[1,{\"b\":\"}\"}]}\n", #"{"a":"\"]\\"}"#, #"{"a":"\ud83d\ude00 \u00e9"}"#,
    ])
    func `A whole object passes unchanged`(json: String) {
        #expect(RawPage(Array(json.utf8))?.bytes == Array(json.utf8))
    }

    @Test(arguments: [
        "", " ", "null", "[]", "{", "{\"a\":[}", "{\"a\":\"", "{}{}", "{} x", "<html></html>", "{\"a\":\"\\",
        "{\"a\":\"\\u12",
        "}", "{]", "{\"a\":1}]",
    ])
    func `What is cut off or no object is refused`(json: String) {
        #expect(RawPage(Array(json.utf8)) == nil)
    }

    @Test func `Bytes that are not UTF-8 are refused`() {
        #expect(RawPage([UInt8(ascii: "{"), 0xff, UInt8(ascii: "}")]) == nil)
    }

    @Test(arguments: [
        (#"{"a":"\u0000"}"#, #"{"a":"\ufffd"}"#), (#"{"a":"x\ud83d"}"#, #"{"a":"x\ufffd"}"#),
        (#"{"a":"\ude00y"}"#, #"{"a":"\ufffdy"}"#), (#"{"a":"\ud83d\u0041"}"#, #"{"a":"\ufffd\u0041"}"#),
        (#"{"a":"\ud83d\ud83d\ude00"}"#, #"{"a":"\ufffd\ud83d\ude00"}"#), (#"{"a":"\\u0000"}"#, #"{"a":"\\u0000"}"#),
    ])
    func `What jsonb does not store in a string is replaced`(json: String, repaired: String) {
        #expect(RawPage(Array(json.utf8)).map { String(decoding: $0.bytes, as: UTF8.self) } == repaired)
    }

    @Test func `No part of a page passes for the whole, and no noise crashes it`() {
        let page = Array(#"{"members":[{"id":"\ud83d\ude00\u0000","n":[1,2,{"x":"\\\""}]}],"total_items":1}"#.utf8)
        for end in page.indices { #expect(RawPage(Array(page[..<end])) == nil) }
        var seed = Seed()
        for _ in 1...2000 {
            var noisy = page
            for _ in 1...3 {
                noisy[Int.random(in: noisy.indices, using: &seed)] = UInt8.random(in: 0...255, using: &seed)
            }
            _ = RawPage(noisy)
        }
    }
}
