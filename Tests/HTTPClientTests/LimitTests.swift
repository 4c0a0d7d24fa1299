import Dispatch
import HTTPClient
import TestSupport
import Testing

@Suite struct LimitTests {
    @Test func `A body that announces more than the limit is refused`() async throws {
        let server = try RawServer {
            $0.request()
            $0.answer(String(repeating: "x", count: 1001))
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url(), maximumBody: 1000))
            #expect(error.code == .tooLarge)
            #expect(error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `A body that never ends is cut off at the limit`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.write("HTTP/1.1 200 OK\r\n\r\n")
            let block = [UInt8](repeating: 0, count: 4096)
            while connection.write(block) {}
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url(), maximumBody: 100_000))
            #expect(error.code == .tooLarge)
            try await eventually("the connection is closed") { server.open == 0 }
        }
    }

    @Test func `A body exactly as large as the limit is accepted`() async throws {
        let server = try RawServer { $0.answerAll(String(repeating: "x", count: 1000)) }
        try await withClient { client in
            let response = try await client.send(HTTPRequest(url: server.url(), maximumBody: 1000))
            #expect(response.body.count == 1000)
        }
    }

    @Test func `What a small compressed body unfolds to is what counts`() async throws {
        let server = try RawServer {
            $0.request()
            $0.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(zeroes.count)\r\n\r\n")
            $0.write(zeroes)
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url(), maximumBody: 5000))
            #expect(error.code == .tooLarge)
        }
    }

    @Test func `A compressed body that unfolds for ever is cut off at the limit`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
            connection.write(endless.head)
            while connection.write(endless.more) {}
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url()))
            #expect(error.code == .tooLarge)
            try await eventually("the connection is closed") { server.open == 0 }
        }
    }

    @Test(arguments: ["gzip", "deflate", "br", "zstd", "gzip, gzip", "gzip, br", "unheard-of"])
    func `A body that is not in the encoding it claims is malformed`(encoding: String) async throws {
        let server = try RawServer {
            $0.request()
            $0.answer("this is not compressed at all", headers: "Content-Encoding: \(encoding)\r\n")
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url()))
            #expect(error.code == .malformed)
            #expect(error.requestMayHaveBeenProcessed)
        }
    }

    @Test func `A head without end is refused`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.write("HTTP/1.1 200 OK\r\n")
            let line = "X-Filler: \(String(repeating: "y", count: 1000))\r\n"
            while connection.write(line) {}
        }
        try await withClient { client in
            let error = try await client.failure(of: HTTPRequest(url: server.url()))
            #expect(error.code == .tooLarge)
        }
    }

    @Test func `No more connections to a host are open than allowed, and every call gets its turn`() async throws {
        let server = try RawServer { $0.answerAll() }
        try await withClient(connectionsPerHost: 3) { client in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 1...60 { group.addTask { try await client.send(HTTPRequest(url: server.url())).status } }
                for try await status in group { #expect(status == 200) }
            }
        }
        #expect(server.requests.count == 60)
        #expect(server.mostOpen <= 3)
    }

    @Test func `Waiting for a turn counts for no time-out`() async throws {
        let gate = DispatchSemaphore(value: 0)
        let server = try RawServer { connection in
            while connection.request() != nil {
                gate.wait()
                connection.answer()
            }
        }
        try await withClient(connectionsPerHost: 1) { client in
            async let first = client.send(HTTPRequest(url: server.url()))
            try await eventually("the first call is under way") { server.requests.count == 1 }
            let quick = HTTPRequest(url: server.url(), timeout: .seconds(5), connectTimeout: .milliseconds(20))
            async let second = client.send(quick)
            // The second call's time for connecting goes by while it waits for the first.
            let start = ContinuousClock.now
            try await eventually("some time goes by") { ContinuousClock.now - start > .milliseconds(100) }
            gate.signal()
            gate.signal()
            #expect(try await first.status == 200)
            #expect(try await second.status == 200)
        }
    }

    @Test func `Two hosts have limits of their own`() async throws {
        let stuck = try RawServer { $0.waitForClose() }
        let lively = try RawServer { $0.answerAll() }
        try await withClient(connectionsPerHost: 1) { client in
            let hanging = Task { try await client.send(HTTPRequest(url: stuck.url())) }
            try await eventually("the first host is busy") { stuck.connections == 1 }
            let response = try await client.send(HTTPRequest(url: lively.url()))
            #expect(response.status == 200)
            hanging.cancel()
            _ = await hanging.result
        }
    }
}

/// The gzip form of 100,000 zeroes.
private let zeroes: [UInt8] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 49, 1, 0, 0, 0, 194, 160, 245, 79, 109, 13, 15, 160, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 87, 3, 125, 149, 17, 212, 160, 134, 1, 0,
]

/// A gzip stream that can be continued for ever, each byte of which unfolds to about 160.
private let endless: (head: [UInt8], more: [UInt8]) = {
    // A block with fixed codes that is not the last one, the letter x, and then: repeat it 258 times.
    let start = [0, 1, 0] + [1, 0, 1, 0, 1, 0, 0, 0]
    let again = [1, 1, 0, 0, 0, 1, 0, 1] + [0, 0, 0, 0, 0]
    let bits = start + Array(repeating: again, count: 8 * 1025).flatMap { $0 }
    var bytes = stride(from: 0, to: bits.count - 8, by: 8).map { at in
        (0..<8).reduce(UInt8(0)) { $0 | UInt8(bits[at + $1]) << $1 }
    }
    let head = bytes.prefix(2)
    bytes.removeFirst(2)
    return ([31, 139, 8, 0, 0, 0, 0, 0, 2, 3] + head, Array(bytes.prefix(13 * 1024)))
}()
