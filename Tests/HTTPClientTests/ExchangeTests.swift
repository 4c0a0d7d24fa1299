import HTTPClient
import TestSupport
import Testing

@Suite struct ExchangeTests {
    @Test func `A response arrives with its status, its header fields and its body`() async throws {
        let server = try RawServer {
            $0.request()
            $0.answer("hello", status: "418 I'm a teapot", headers: "X-Request-Id:  42 \r\nX-Two: a\r\nx-two: b\r\n")
        }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(response.status == 418)
            #expect(response.body == Array("hello".utf8))
            #expect(response.header("x-request-ID") == "42")
            #expect(response.headers.filter { $0.name.lowercased() == "x-two" }.map(\.value) == ["a", "b"])
            #expect(response.header("absent") == nil)
        }
    }

    @Test func `A request goes out as it was written, and libcurl adds no type and no question of its own`()
        async throws
    {
        let server = try RawServer { $0.answerAll() }
        try await withClient { client in
            let body = String(repeating: "x", count: 2 << 20)
            _ = try await client.send(
                HTTPRequest(
                    method: "PATCH", url: server.url("/a/%2E%2E/../b?c=d%20e"),
                    headers: [("X-Plain", "one"), ("X-Empty", "")], body: Array(body.utf8)))
        }
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("PATCH /a/%2E%2E/../b?c=d%20e HTTP/1.1\r\n"))
        #expect(request.contains("\r\nX-Plain: one\r\n"))
        #expect(request.contains("\r\nX-Empty:\r\n"))
        #expect(request.contains("\r\nUser-Agent: Koppeling/"))
        #expect(request.contains("gzip"))
        #expect(!request.contains("Expect:"))
        #expect(!request.contains("Content-Type:"))
        #expect(request.contains("\r\nContent-Length: \(2 << 20)\r\n"))
        #expect(request.utf8.count > 2 << 20)
    }

    @Test(arguments: ["POST", "PUT", "PATCH"])
    func `A request without a body announces an empty one`(method: String) async throws {
        let server = try RawServer { $0.answerAll() }
        try await withClient { client in
            _ = try await client.send(HTTPRequest(method: method, url: server.url()))
        }
        #expect(try #require(server.requests.first).contains("\r\nContent-Length: 0\r\n"))
    }

    @Test func `HEAD and DELETE send no body and read none that is not there`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            connection.request()
            connection.write("HTTP/1.1 204 No Content\r\n\r\n")
            connection.waitForClose()
        }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(method: "HEAD", url: server.url()))
            #expect(response.status == 200)
            let deleted = try await client.send(HTTPRequest(method: "DELETE", url: server.url()))
            #expect(deleted.status == 204)
            #expect(deleted.body.isEmpty)
        }
        #expect(server.connections == 1)
        #expect(server.requests.allSatisfy { !$0.contains("Content-Length") })
    }

    @Test func `Calls one after another share a connection`() async throws {
        let server = try RawServer { $0.answerAll() }
        try await withClient { client in
            for _ in 1...5 { _ = try await client.send(HTTPRequest(url: server.url())) }
        }
        #expect(server.requests.count == 5)
        #expect(server.connections == 1)
    }

    @Test func `A redirection is handed to the caller and not followed`() async throws {
        let other = try RawServer { $0.answerAll() }
        let target = other.url()
        let server = try RawServer {
            $0.request()
            $0.answer("", status: "302 Found", headers: "Location: \(target)\r\n")
        }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(url: server.url(), headers: [("Authorization", "secret")]))
            #expect(response.status == 302)
            #expect(response.header("location") == target)
        }
        #expect(other.connections == 0)
    }

    @Test func `The head of an interim response is forgotten`() async throws {
        let server = try RawServer {
            $0.request()
            $0.write("HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n")
            $0.answer("late", headers: "Link: final\r\n")
        }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(response.status == 200)
            #expect(response.headers.filter { $0.name == "Link" }.map(\.value) == ["final"])
        }
    }

    @Test func `A chunked response that comes byte by byte is put together`() async throws {
        let server = try RawServer { connection in
            connection.request()
            let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
            for byte in text.utf8 { connection.write([byte]) }
            connection.waitForClose()
        }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(String(decoding: response.body, as: UTF8.self) == "hello world")
        }
    }

    @Test func `A compressed response is handed over decompressed`() async throws {
        let server = try RawServer {
            $0.request()
            $0.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(greeting.count)\r\n\r\n")
            $0.write(greeting)
        }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(String(decoding: response.body, as: UTF8.self) == "hello, compressed world")
        }
    }
}

/// The gzip form of "hello, compressed world".
private let greeting: [UInt8] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 215, 81, 72, 206, 207, 45, 40, 74, 45, 46, 78, 77, 81, 40,
    207, 47, 202, 73, 1, 0, 8, 158, 52, 53, 23, 0, 0, 0,
]
