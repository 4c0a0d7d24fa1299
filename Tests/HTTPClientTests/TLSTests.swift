import HTTPClient
import TestSupport
import Testing

@Suite(.enabled(if: OpenSSL.isInstalled, "needs the openssl program"))
struct TLSTests {
    @Test func `A certificate that nobody vouches for is refused before anything is sent`() async throws {
        try await OpenSSL.withServer(for: "localhost") { server in
            try await withClient { client in
                let error = try await client.failure(of: HTTPRequest(url: server.url))
                #expect(error.code == .tls)
                #expect(!error.requestMayHaveBeenProcessed)
            }
        }
    }

    @Test func `A certificate that the given authorities vouch for is accepted`() async throws {
        try await OpenSSL.withServer(for: "localhost") { server in
            try await withClient(allowPlaintext: false, certificateAuthorities: server.certificate) { client in
                let response = try await client.send(HTTPRequest(url: server.url))
                #expect(response.status == 200)
            }
        }
    }

    @Test func `A certificate for another name is refused whoever vouches for it`() async throws {
        try await OpenSSL.withServer(for: "other.example") { server in
            try await withClient(certificateAuthorities: server.certificate) { client in
                let error = try await client.failure(of: HTTPRequest(url: server.url))
                #expect(error.code == .tls)
            }
        }
    }

    @Test func `A server that knows nothing newer than TLS 1-2 is accepted`() async throws {
        try await OpenSSL.withServer(for: "localhost", options: ["-tls1_2"]) { server in
            try await withClient(allowPlaintext: false, certificateAuthorities: server.certificate) { client in
                let response = try await client.send(HTTPRequest(url: server.url))
                #expect(response.status == 200)
            }
        }
    }

    @Test func `A server that knows nothing newer than TLS 1-1 is refused`() async throws {
        try await OpenSSL.withServer(for: "localhost", options: ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]) { server in
            try await withClient(certificateAuthorities: server.certificate) { client in
                let error = try await client.failure(of: HTTPRequest(url: server.url))
                #expect(error.code == .tls)
            }
        }
    }

    @Test func `A server that speaks in the clear where TLS is expected is refused`() async throws {
        let server = try RawServer {
            $0.answer()
            $0.waitForClose()
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: "https://localhost:\(server.port)/"))
            #expect([.tls, .connect, .reset].contains(error.code))
            #expect(!error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `A missing file of authorities is an error and not a licence`() async throws {
        try await OpenSSL.withServer(for: "localhost") { server in
            try await withClient(certificateAuthorities: "/nonexistent/authorities.pem") { client in
                let error = try await client.failure(of: HTTPRequest(url: server.url))
                #expect(error.code == .tls)
            }
        }
    }
}
