import Glibc
import HTTPClient
import TestSupport
import Testing

@Suite struct FailureTests {
    @Test func `Where nobody listens, nothing was sent`() async throws {
        var server: RawServer? = try RawServer { _ in }
        let url = try #require(server?.url())
        server = nil
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(method: "POST", url: url, body: [1]))
            #expect(error.code == .connect)
            #expect(!error.requestMayHaveBeenProcessed)
            #expect(error.isTransient)
        }
    }

    @Test func `A host that does not exist is a failure to connect`() async throws {
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: "http://host.invalid/"))
            #expect(error.code == .connect)
            #expect(!error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `A connection reset after the request may have had its effect`() async throws {
        let server = try RawServer {
            $0.request()
            $0.reset()
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(method: "POST", url: server.url(), body: [1]))
            #expect(error.code == .reset)
            #expect(error.requestMayHaveBeenProcessed)
        }
        #expect(server.requests.count == 1)
    }

    @Test(arguments: ["POST", "PUT", "PATCH", "DELETE"])
    func `A request with effects is not repeated when a kept connection dies`(method: String) async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.answer()
            guard connection.number == 1 else { return connection.answerAll() }
            connection.request()
            connection.reset()
        }
        try await withClient { client in
            _ = try await client.send(HTTPRequest(url: server.url()))
            let error = try await client.failure(of: HTTPRequest(method: method, url: server.url()))
            #expect(error.code == .reset)
            #expect(error.requestMayHaveBeenProcessed)
            // The client is none the worse for it.
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(response.status == 200)
        }
        #expect(server.requests.count { $0.hasPrefix(method) } == 1)
    }

    @Test func `A request without effects is repeated on a new connection when a kept one dies`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.answer()
            guard connection.number == 1 else { return connection.answerAll() }
            connection.request()
            connection.reset()
        }
        try await withClient { client in
            _ = try await client.send(HTTPRequest(url: server.url()))
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(response.status == 200)
        }
        #expect(server.requests.count == 3)
    }

    @Test func `A response cut off in the middle of its body is no response`() async throws {
        let server = try RawServer {
            $0.request()
            $0.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":")
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url()))
            #expect(error.code == .reset)
            #expect(error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `An answer that is not HTTP is malformed`() async throws {
        let server = try RawServer {
            $0.request()
            $0.write("220 mail.example.org ESMTP\r\n")
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url()))
            #expect(error.code == .malformed)
            #expect(error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `A server that never answers runs into the time-out`() async throws {
        let server = try RawServer {
            $0.request()
            $0.waitForClose()
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url(), timeout: .milliseconds(100)))
            #expect(error.code == .timeout)
            #expect(error.requestMayHaveBeenProcessed)
            try await eventually("the connection is closed") { server.open == 0 }
        }
    }

    @Test func `A server that takes the connection and says nothing of TLS runs into the time-out for connecting`()
        async throws
    {
        let server = try RawServer { $0.waitForClose() }
        try await withClient { client in
            let url = "https://localhost:\(server.port)/"
            let request = HTTPRequest(method: "POST", url: url, body: [1], connectTimeout: .milliseconds(100))
            let error = try await client.failure(of: request)
            #expect(error.code == .timeout)
            #expect(!error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `A call has ten seconds to connect and a little longer than Mailchimp's own two minutes`() {
        let request = HTTPRequest(url: "https://example.org/")
        #expect(request.connectTimeout == .seconds(10))
        #expect(request.timeout == .seconds(130))
    }

    @Test func `A server that sends a byte now and then runs into the time-out as well`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            while connection.write("x") { sched_yield() }
        }
        try await withClient { client in
            let request = HTTPRequest(url: server.url(), timeout: .milliseconds(100), maximumBody: .max)
            let error = try await client.failure(of: request)
            #expect(error.code == .timeout)
        }
    }
}
