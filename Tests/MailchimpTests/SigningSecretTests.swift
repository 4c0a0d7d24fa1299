import FoundationEssentials
import TestSupport
import Testing

@testable import Mailchimp

@Suite struct SigningSecretTests {
    private static let body = Array(
        "type=subscribe&fired_at=2026-01-01+00%3A00%3A00&data%5Bemail%5D=ann%40people.test".utf8)
    private static let moment = 1_767_225_600.0
    /// Made with another program, from the secret below.
    private static let code = "ac8d989f0d1e08fa7e2b532fa36da46dc8d8ac6f48b6e60eb0f686f8d5ce2e5f"
    private static let other = String(repeating: "0", count: 64)

    @Test(arguments: [
        "t=1767225600,v1=\(code)", "v1=\(code),t=1767225600", "t=1767225600, v1=\(code) ",
        "t=1767225600,v1=\(code.uppercased())", "t=1767225600,v0=\(other),v1=\(other),v1=\(code),v2=x,",
        "t=1767225600,v1=\(code),v1=\(other)", "t=1767225600,v1=,v1=xyz,v1=\(code)",
        "t=001767225600,v1=3bc9c4dc5cde031fa82ace616c6dd1936d435715ad6868635a521d94648a5734",
    ])
    func `A signature made with the secret is valid in every form`(header: String) throws {
        #expect(try verdict(header) == .valid)
    }

    @Test func `A signature is good for five minutes, before and after`() throws {
        let header = "t=1767225600,v1=\(Self.code)"
        for seconds in [-300.0, -1, 0, 299, 300] { #expect(try verdict(header, after: seconds) == .valid) }
        for seconds in [-1e12, -301, 301, 86_400, 1e12] { #expect(try verdict(header, after: seconds) == .stale) }
    }

    @Test func `Another body, another moment or another secret makes it wrong`() throws {
        let header = "t=1767225600,v1=\(Self.code)"
        for index in Self.body.indices {
            var body = Self.body
            body[index] ^= 1
            #expect(try verdict(header, body: body) == .wrong)
        }
        #expect(try verdict(header, body: []) == .wrong)
        #expect(try verdict(header, secret: "0123456789abcdeg") == .wrong)
        #expect(try verdict("t=1767225601,v1=\(Self.code)") == .wrong)
        #expect(try verdict("t=1767225600,v1=\(Self.other)") == .wrong)
        // The moment is signed as it is written.
        #expect(try verdict("t=01767225600,v1=\(Self.code)") == .wrong)
    }

    @Test(arguments: [
        " ", ",", "t", "t=", "t=1767225600", "v1=\(code)", "t=1767225600,v1=", "t=1767225600,v1=\(code)0",
        "t=1767225600,v1=\(code.dropLast())", "t=1767225600,v1=\(code.dropLast())g", "t=-1767225600,v1=\(code)",
        "t=1767225600.0,v1=\(code)", "t=1e9,v1=\(code)", "t= 1767225600,v1=\(code)", "t=١٧٦٧٢٢٥٦٠٠,v1=\(code)",
        "t=1767225600,t=1767225600,v1=\(code)", "t=1767225600,t=,v1=\(code)", "t=1767225600123,v1=\(code)",
        "t=1767225600;v1=\(code)", "T=1767225600,V1=\(code)", "t=1767225600,v1=\(code.replacing("a", with: "é"))",
        "t=1767225600,v1=\(code)," + String(repeating: "x", count: 1024),
    ])
    func `What is no signature is malformed`(header: String) throws {
        #expect(try verdict(header) == .malformed)
    }

    @Test func `No header field is no signature`() throws {
        #expect(try verdict(nil) == .missing)
        #expect(try verdict("") == .missing)
        #expect(SigningSecret("") == nil)
    }

    @Test func `Noise is never valid and never a crash`() throws {
        var seed = Seed()
        let header = Array("t=1767225600,v1=\(Self.code)".utf8)
        for _ in 1...2000 {
            var noisy = header
            let index = Int.random(in: noisy.indices, using: &seed)
            let byte = UInt8.random(in: 0...255, using: &seed)
            noisy[index] = byte
            let text = String(decoding: noisy, as: UTF8.self)
            // The digits of the code are the same number in capitals.
            guard text.lowercased() != String(decoding: header, as: UTF8.self) else { continue }
            #expect(try verdict(text) != .valid, "\(text)")
        }
    }

    @Test func `The secret is never printed`() throws {
        let secret = try #require(SigningSecret("hushhush"))
        var dumped = ""
        dump(secret, to: &dumped)
        for text in ["\(secret)", String(reflecting: secret), "\([secret])", dumped] {
            #expect(!text.contains("hush"))
        }
    }

    private func verdict(
        _ header: String?, body: [UInt8] = body, secret: String = "0123456789abcdef", after seconds: Double = 0
    ) throws -> SigningSecret.Verdict {
        let now = Date(timeIntervalSince1970: Self.moment + seconds)
        return try #require(SigningSecret(secret)).verdict(on: header, of: body, at: now)
    }
}
