import Glibc
import Postgres

/// A session with the server, on the level of the protocol's messages.
// Sendable because the pooler lends it to one thread at a time.
final class PooledSession: @unchecked Sendable {
    let stream: MessageStream
    /// What the server said of its settings when the session began.
    private(set) var greeting: [Message] = []
    private let path: String
    private var key: [UInt8] = []

    init(_ server: ConnectionSettings) throws {
        var facts: [String: String] = ["dbname": server.database ?? "koppeling"]
        for fact in "\(server)".split(separator: " ") {
            let parts = fact.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { facts[String(parts[0])] = String(parts[1]) }
        }
        path = "\(facts["host"] ?? "")/.s.PGSQL.\(facts["port"] ?? "5432")"
        stream = MessageStream(try UnixSocket.connect(to: path))
        let settings = "user\0\(facts["user"] ?? "koppeling")\0database\0\(facts["dbname"] ?? "")\0\0"
        try stream.send(Message.untyped(196_608, Array(settings.utf8)))
        while let message = try stream.next(), message.type != "Z" {
            if message.type == "S" { greeting.append(message) }
            if message.type == "K" { key = message.body }
            if message.type == "E" { throw ProtocolError(text: String(decoding: message.body, as: UTF8.self)) }
        }
    }

    deinit {
        close(stream.socket)
    }

    /// Asks the server to stop what the session does.
    func cancel() throws {
        let other = MessageStream(try UnixSocket.connect(to: path))
        defer { close(other.socket) }
        try other.send(Message.untyped(80_877_102, key))
        _ = try other.next()
    }

    /// The first column of what a statement answers.
    func rows(_ sql: String) throws -> [String] {
        try stream.send(Message(type: "Q", body: Array(sql.utf8) + [0]))
        var rows: [String] = []
        while let message = try stream.next(), message.type != "Z" {
            if message.type == "E" { throw ProtocolError(text: String(decoding: message.body, as: UTF8.self)) }
            // The number of columns and the length of the first stand before it.
            if message.type == "D" { rows.append(String(decoding: message.body.dropFirst(6), as: UTF8.self)) }
        }
        return rows
    }
}

/// A message of the server's protocol.
struct Message: Sendable {
    var type: Unicode.Scalar
    var body: [UInt8]

    /// One that begins a connection, which has a number instead of a type.
    static func untyped(_ code: Int32, _ body: [UInt8]) -> [UInt8] {
        Int32(body.count + 8).bytes + code.bytes + body
    }
}

/// What a client begins with.
struct Start {
    let code: Int32
    let body: [UInt8]

    /// The names of the settings it asks for.
    var names: [String] {
        let parts = body.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        return stride(from: 0, to: parts.count - 1, by: 2).map { parts[$0] }
    }

    func numbers(_ index: Int) -> Int32 { Int32(bytes: body[(index * 4)..<(index * 4 + 4)]) }
}

/// Messages over a socket; reads and writes wait.
struct MessageStream: Sendable {
    let socket: Int32

    init(_ socket: Int32) {
        self.socket = socket
    }

    /// The next message; nil when the other side has hung up.
    func next() throws -> Message? {
        guard let head = try read(5) else { return nil }
        guard let body = try read(Int(Int32(bytes: head[1...])) - 4) else { return nil }
        return Message(type: Unicode.Scalar(head[0]), body: body)
    }

    func start() throws -> Start? {
        guard let head = try read(8), let body = try read(Int(Int32(bytes: head[..<4])) - 8) else { return nil }
        return Start(code: Int32(bytes: head[4...]), body: body)
    }

    func send(_ message: Message) throws {
        try send([UInt8(message.type.value)] + Int32(message.body.count + 4).bytes + message.body)
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.send(socket, buffer.baseAddress?.advanced(by: sent), bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 || errno == EINTR else { throw ProtocolError(text: "the other side has hung up") }
            sent += max(count, 0)
        }
    }

    private func read(_ count: Int) throws -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var received = 0
        while received < count {
            let piece = bytes.withUnsafeMutableBytes { buffer in
                Glibc.read(socket, buffer.baseAddress?.advanced(by: received), count - received)
            }
            if piece < 0, errno == EINTR { continue }
            guard piece > 0 else { return nil }
            received += piece
        }
        return bytes
    }
}

extension Int32 {
    /// As the protocol has it: the most significant first.
    var bytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (24 - 8 * $0)) } }

    init(bytes: some Collection<UInt8>) {
        self = bytes.reduce(0) { $0 << 8 | Int32($1) }
    }
}
