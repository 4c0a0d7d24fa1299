import HTTPClient
import TestSupport
import Testing

@Suite struct AddressTests {
    @Test(arguments: [
        "ftp://example.org/", "file:///etc/passwd", "example.org", "", "https://", "https:///path",
        "https://user@example.org/",
        "https://user:secret@example.org/", "https://example.org:0/", "https://example.org:99999/",
        "https://example.org:+8/", "https://example.org:/", "https://example.org/a b", "https://example.org/\r\nX: y",
        "https://127.1/", "https://0x7f.0.0.1/", "https://2130706433/", "https://127.0.0.01/", "https://1.2.3.256/",
        "https://ex%61mple.org/", "https://[::1/", "https://::1]/", "https://[fe80::1%25lo]/", "https://[v1.x]/",
        "https://example.org,evil.example/", "https://example.org\u{7f}/", "https://exämple.org/",
        #"https://example.org\@evil.example/"#, "https://example.org:80@evil.example/",
    ])
    func `An address that is not a plain https address is not called`(url: String) async throws {
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: url))
            #expect(error.code == .badURL)
            #expect(!error.requestMayHaveBeenProcessed)
            #expect(!error.description.contains("secret"))
        }
    }

    @Test func `An address in the clear is refused unless it is allowed`() async throws {
        let server = try RawServer { $0.answerAll() }
        try await withClient(allowPlaintext: false) { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url()))
            #expect(error.code == .badURL)
            let loud = try await client.failure(of: HTTPRequest(url: "HTTP://127.0.0.1/"))
            #expect(loud.code == .badURL)
        }
        #expect(server.connections == 0)
    }

    @Test(arguments: [
        HTTPRequest(method: "GET / HTTP/1.1\r\nX: y", url: "http://127.0.0.1/"),
        HTTPRequest(method: "", url: "http://127.0.0.1/"),
        HTTPRequest(url: "http://127.0.0.1/", headers: [("X", "a\r\nY: b")]),
        HTTPRequest(url: "http://127.0.0.1/", headers: [("X", "a\0b")]),
        HTTPRequest(url: "http://127.0.0.1/", headers: [("X: y\r\nZ", "a")]),
        HTTPRequest(url: "http://127.0.0.1/", headers: [("", "a")]),
    ])
    func `A value cannot smuggle another header field into the request`(request: HTTPRequest) async throws {
        try await withClient { client in
            let error = try await client.failure(of: request)
            #expect(error.code == .badRequest)
        }
    }
}
