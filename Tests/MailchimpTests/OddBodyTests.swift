import Foundation
import HTTPClient
import TestSupport
import Testing

@testable import Mailchimp

/// Bodies that are not what the documentation promises.
@Suite struct OddBodyTests {
    @Test(
        arguments: [
            (403, #"{"type":"akamai_error_message","title":"akamai_403","status":403,"ref_no":"18.2"}"#),
            (404, #"{"title":"akamai_404","status":404}"#), (400, #"{"title":"akamai_400","detail":"Forbidden"}"#),
            (503, #"{"type":"akamai_error_message","title":"akamai_503","status":503,"ref_no":"00.950e16c3"}"#),
            (404, #"{"message":"Not Found"}"#),
        ])
    func `What the network in front of Mailchimp says is no word about an account or a member`(
        status: Int, body: String
    ) {
        let error = classified(status, Array(body.utf8))
        #expect([.overloaded, .malformedResponse].contains(error.code))
        #expect(error.advice == .retry)
    }

    @Test(arguments: [
        #"{"title":"Member In Compliance State"}"#,
        "\u{feff}" + #"{"title":"Member In Compliance State","errors":[]}"#,
        #" \#n{"status":"400","title":"Member In Compliance State","detail":null,"errors":null}"#,
        #"{"title":"x","title":"Member In Compliance State","detail":"is in a compliance state"}"#,
        #"{"detail":"ann@example.org has previously unsubscribed","title":7,"instance":{"odd":[]}}"#,
        #"{"title":"Member In Compliance State","detail":["ann"],"errors":{"odd":{"odder":[1]}},"status":{}}"#,
        #"{"TITLE":"","detail":"ann@example.org is in a compliance state due to unsubscribe"}"#,
    ])
    func `A no is understood in every shape of the document`(body: String) {
        for type in ["application/problem+json; charset=utf-8", "application/json", "text/html", ""] {
            let error = classified(400, Array(body.utf8), type: type)
            #expect(error.advice == .suppress(.complianceState))
        }
    }

    @Test func `A byte that is not UTF-8 costs a letter and not the sense`() {
        let body = Array(#"{"title":"Forgotten Email Not Subscribed","detail":"zo"#.utf8) + [0xeb] + Array(#""}"#.utf8)
        let error = classified(400, body)
        #expect(error.advice == .suppress(.forgotten))
        #expect(error.detail == "zo\u{fffd}")
    }

    @Test(
        arguments: [
            (#"[{"field":"LTV","message":"Please enter a number"}]"#, ["LTV: Please enter a number"]),
            (#"["Please enter a number"]"#, [": Please enter a number"]),
            (#""Please enter a number""#, [": Please enter a number"]),
            (#"{"field":"LTV","message":"Please enter a number"}"#, ["LTV: Please enter a number"]),
            (#"{"LTV":"Please enter a number","A":["x",1]}"#, ["A: x 1", "LTV: Please enter a number"]),
            (#"[null,[],{},7,{"field":"LTV"},{"message":5},{"field":{},"message":[]}]"#, [": 7", "LTV: ", ": 5"]),
            (#"[{"error":"Please enter a number","email_addresses":["a"]}]"#, [": Please enter a number"]),
            ("[]", []), ("{}", []), ("null", []), ("0.5", [": 0.5"]), (#"{"A":{"B":{"C":1}}}"#, ["A: "]),
        ])
    func `The refused fields are read in whichever shape they come`(errors: String, fields: [String]) {
        let body = #"{"title":"Invalid Resource","detail":"Your merge fields were invalid.","errors":\#(errors)}"#
        let error = classified(400, Array(body.utf8))
        #expect(error.fields.map { "\($0.field): \($0.message)" } == fields)
        #expect(error.code == .invalidMergeFields)
    }

    @Test func `What a log gets is one short line, whatever was sent`() {
        let long = String(repeating: "very long ", count: 100_000)
        let errors = (1...1000).map { #"{"field":"F\#($0)","message":"\#(long.prefix(1000))"}"# }
        let body =
            #"{"title":"a\r\nb\u0000 ann@example.org","detail":"\#(long)","instance":"i\nbob%40example.org","#
            + #""errors":[\#(errors.joined(separator: ","))]}"#
        let error = classified(400, Array(body.utf8))
        #expect(error.fields.count == 50)
        #expect(error.detail.utf8.count <= 1000)
        let line = "\(error)"
        #expect(line.hasPrefix("other, status 400, a b  (address), very long"))
        #expect(line.utf8.count < 2500)
        #expect(line.unicodeScalars.allSatisfy { $0.value >= 0x20 })
        #expect(!line.contains("ann") && !line.contains("bob"))
    }

    @Test(arguments: [
        "", "<html><body>Maintenance</body></html>", "null", "[]", "{", "\"text\"", "{}", #"{"title":"x"}"#,
        #"{"members":null}"#, #"{"members":[],"members":[]}"#, #"{"members":{}}"#, #"{"members":[1]}"#,
    ])
    func `A success without its content is none, for a reading call`(body: String) async throws {
        try await answering(body) { client in
            let page = try await failure { _ = try await client.rawMembers("l") }
            let read = try await failure { _ = try await client.member("l", .hash("h")) }
            let created = try await failure { _ = try await client.bulkCreateBytes("l", body: Array("{}".utf8)) }
            for error in [page, read, created] {
                #expect(error.code == .malformedResponse)
                #expect(error.advice == .retry)
                #expect(error.status == 200)
            }
            #expect(!page.mayHaveBeenProcessed && !read.mayHaveBeenProcessed)
            #expect(created.mayHaveBeenProcessed)
        }
    }

    @Test func `A page of HTML with the status of a success archives nobody`() async throws {
        try await answering("<html><body>Maintenance</body></html>") { client in
            let archived = try await failure { try await client.archive("l", .hash("h")) }
            let erased = try await failure { try await client.deletePermanently("l", hash: "h") }
            for error in [archived, erased] {
                #expect(error.code == .malformedResponse)
                #expect(error.mayHaveBeenProcessed)
            }
        }
        for body in ["", "{}", #" {"id":"h"}"#] {
            try await answering(body) { try await $0.archive("l", .hash("h")) }
        }
    }

    @Test func `A success that says there is nothing has no body, whatever follows`() async throws {
        try await answering("surprise", status: "204 No Content") { client in
            try await client.archive("l", .hash("h"))
            try await client.archive("l", .hash("h"))
        }
    }

    @Test func `A redirection is an error, and the credential stays here`() async throws {
        let other = try RawServer { $0.answerAll() }
        try await answering("", status: "301 Moved Permanently", headers: "Location: \(other.url())\r\n") { client in
            let error = try await failure { try await client.ping() }
            #expect(error.code == .redirected)
        }
        #expect(other.connections == 0)
    }

    @Test func `A call carries its credential in one header field and nowhere else`() async throws {
        let server = try RawServer { $0.answerAll("{}") }
        try await withClient(of: server) { client in
            _ = try await failure { try await client.ping() }
            let request = client.request(.get("ping"))
            #expect(request.timeout == .seconds(130))
            #expect(request.connectTimeout == .seconds(10))
            #expect(!request.url.contains("tokensecret") && !"\(request)".contains("tokensecret"))
        }
        let request = try #require(server.requests.first)
        #expect(request.components(separatedBy: "tokensecret").count == 2)
        #expect(request.contains("\r\nAuthorization: Bearer tokensecret\r\n"))
    }

    private func classified(_ status: Int, _ body: [UInt8], type: String = "text/html") -> MailchimpError {
        Classification.error(for: HTTPResponse(status: status, headers: [("Content-Type", type)], body: body))
    }

    /// Runs a test with a client of a server that answers every call with the same body.
    private func answering(
        _ body: String, status: String = "200 OK", headers: String = "", _ test: (MailchimpClient) async throws -> Void
    ) async throws {
        let server = try RawServer { connection in
            while connection.request() != nil { connection.answer(body, status: status, headers: headers) }
        }
        try await withClient(of: server, test)
    }

    private func withClient(of server: RawServer, _ test: (MailchimpClient) async throws -> Void) async throws {
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        try await test(
            MailchimpClient(
                credential: .accessToken("tokensecret", dataCentre: "us1"), http: http,
                rootOverride: "http://127.0.0.1:\(server.port)"))
    }
}
