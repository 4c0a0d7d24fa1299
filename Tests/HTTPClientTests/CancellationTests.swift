import HTTPClient
import TestSupport
import Testing

@Suite struct CancellationTests {
    @Test func `Cancelling the task aborts the transfer and closes the connection`() async throws {
        let server = try RawServer {
            $0.request()
            $0.waitForClose()
        }
        try await withClient { client in
            let task = Task { try await client.failure(of: HTTPRequest(method: "POST", url: server.url(), body: [1])) }
            try await eventually("the request arrives") { server.requests.count == 1 }
            task.cancel()
            let error = try await task.value
            #expect(error.code == .cancelled)
            #expect(error.requestMayHaveBeenProcessed)
            try await eventually("the connection is closed") { server.open == 0 }
        }
    }

    @Test func `A task that is cancelled already sends nothing`() async throws {
        let server = try RawServer { $0.answerAll() }
        try await withClient { client in
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                return try await client.failure(of: HTTPRequest(url: server.url()))
            }
            let error = try await task.value
            #expect(error.code == .cancelled)
            #expect(!error.requestMayHaveBeenProcessed)
        }
        #expect(server.connections == 0)
    }

    @Test func `A call that waits for its turn can be cancelled, and the next one gets it`() async throws {
        let server = try RawServer { connection in
            connection.request()
            connection.waitForClose()
        }
        try await withClient(connectionsPerHost: 1) { client in
            let first = Task { try await client.failure(of: HTTPRequest(url: server.url("/first"))) }
            try await eventually("the first is under way") { server.requests.count == 1 }
            let second = Task { try await client.failure(of: HTTPRequest(url: server.url("/second"))) }
            let third = Task { try await client.failure(of: HTTPRequest(url: server.url("/third"))) }
            second.cancel()
            #expect(try await second.value == HTTPError(.cancelled, "127.0.0.1: Cancelled."))
            first.cancel()
            #expect(try await first.value.code == .cancelled)
            try await eventually("the third is under way") { server.requests.count == 2 }
            #expect(try #require(server.requests.last).hasPrefix("GET /third "))
            third.cancel()
            #expect(try await third.value.code == .cancelled)
        }
    }

    @Test func `Every call ends exactly once, whatever it is cancelled by`() async throws {
        let server = try RawServer { connection in
            while let request = connection.request() {
                if request.hasPrefix("GET /reset ") { return connection.reset() }
                if request.hasPrefix("GET /hang ") { return connection.waitForClose() }
                connection.answer()
            }
        }
        var seed = Seed()
        try await withClient(connectionsPerHost: 4) { client in
            await withTaskGroup(of: Void.self) { group in
                for _ in 1...300 {
                    let path = ["/", "/", "/reset", "/hang"].randomElement(using: &seed) ?? "/"
                    let request = HTTPRequest(
                        method: "GET", url: server.url(path),
                        timeout: .milliseconds(Int.random(in: 1...60, using: &seed)))
                    let patience = Int.random(in: 0...40, using: &seed)
                    let task = Task {
                        do throws(HTTPError) {
                            let response = try await client.send(request)
                            #expect(response.status == 200)
                        } catch {
                            #expect([.cancelled, .timeout, .reset, .connect].contains(error.code))
                        }
                    }
                    group.addTask {
                        for _ in 0..<patience { await Task.yield() }
                        if patience.isMultiple(of: 2) { task.cancel() }
                        await task.value
                    }
                }
            }
            let response = try await client.send(HTTPRequest(url: server.url()))
            #expect(response.status == 200)
        }
    }

    @Test func `Shutting down fails what is under way, what waits, and what comes later`() async throws {
        let server = try RawServer {
            $0.request()
            $0.waitForClose()
        }
        let client = HTTPClient(connectionsPerHost: 1, allowPlaintext: true)
        let first = Task { try await client.failure(of: HTTPRequest(url: server.url())) }
        try await eventually("the first is under way") { server.requests.count == 1 }
        let second = Task { try await client.failure(of: HTTPRequest(url: server.url())) }
        client.shutdown()
        let cutOff = try await first.value
        #expect(cutOff.code == .shutDown)
        #expect(cutOff.requestMayHaveBeenProcessed)
        #expect(try await second.value == HTTPError(.shutDown, try await second.value.message))
        let error = try await client.failure(of: HTTPRequest(url: server.url()))
        #expect(error.code == .shutDown)
        try await eventually("the connection is closed") { server.open == 0 }
        client.shutdown()
    }

    @Test func `Many clients live and die side by side`() async throws {
        let server = try RawServer { $0.answerAll() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 1...8 {
                group.addTask {
                    // Dropped without being shut down, which has to do as well.
                    let client = HTTPClient(allowPlaintext: true)
                    let response = try await client.send(HTTPRequest(url: server.url()))
                    #expect(response.status == 200)
                }
            }
            try await group.waitForAll()
        }
        try await eventually("all connections are closed") { server.open == 0 }
    }
}
