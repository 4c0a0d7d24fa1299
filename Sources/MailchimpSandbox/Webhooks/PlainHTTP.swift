import NIOCore
import NIOHTTP1
import NIOPosix

/// A client for webhooks: one request on a connection of its own, without TLS, of whose answer only the status counts.
enum PlainHTTP {
    /// Why no status came back.
    enum Failure: Error {
        case unusableURL
        case noAnswer
        case timeout
    }

    struct Target: Equatable {
        var host: String
        var port: Int
        var path: String

        init?(_ url: String) {
            guard url.hasPrefix("http://") else { return nil }
            let rest = url.dropFirst(7)
            let authority = rest.prefix { $0 != "/" && $0 != "?" }
            let tail = rest.dropFirst(authority.count)
            path = tail.isEmpty ? "/" : tail.hasPrefix("/") ? String(tail) : "/" + tail
            // The host may be an IPv6 address in brackets, whose colons do not start a port.
            let afterHost = authority.lastIndex(of: "]").map { authority.index(after: $0) } ?? authority.startIndex
            if let colon = authority[afterHost...].firstIndex(of: ":") {
                guard let number = Int(authority[authority.index(after: colon)...]), (1...65_535).contains(number)
                else {
                    return nil
                }
                port = number
                host = String(authority[..<colon])
            } else {
                port = 80
                host = String(authority)
            }
            host = host.filter { $0 != "[" && $0 != "]" }
            if host.isEmpty { return nil }
        }
    }

    static func send(
        _ method: String, _ url: String, headers: [(String, String)] = [], body: String = "", timeout: Duration
    ) async throws -> Int {
        guard let target = Target(url) else { throw Failure.unusableURL }
        return try await withThrowingTaskGroup(of: Int.self) { group in
            group.addTask { try await exchange(method, target, headers, body) }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw Failure.timeout
            }
            defer { group.cancelAll() }
            guard let status = try await group.next() else { throw Failure.noAnswer }
            return status
        }
    }

    private static func exchange(_ method: String, _ target: Target, _ headers: [(String, String)], _ body: String)
        async throws -> Int
    {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(.seconds(5))
            .connect(host: target.host, port: target.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                        wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { inbound, outbound in
            var fields = HTTPHeaders(headers)
            fields.add(name: "Host", value: target.port == 80 ? target.host : "\(target.host):\(target.port)")
            fields.add(name: "User-Agent", value: "MailChimp.com")
            fields.add(name: "Accept", value: "*/*")
            fields.add(name: "Connection", value: "close")
            if method != "GET" { fields.add(name: "Content-Length", value: String(body.utf8.count)) }
            let head = HTTPRequestHead(
                version: .http1_1, method: HTTPMethod(rawValue: method), uri: target.path, headers: fields)
            try await outbound.write(.head(head))
            if !body.isEmpty { try await outbound.write(.body(.byteBuffer(ByteBuffer(string: body)))) }
            try await outbound.write(.end(nil))
            for try await part in inbound {
                if case .head(let head) = part { return Int(head.status.code) }
            }
            throw Failure.noAnswer
        }
    }
}
