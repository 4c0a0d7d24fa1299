import Foundation
import IO

/// A TCP server that does to each connection exactly what a test says, well-behaved or not.
///
/// `@unchecked Sendable`: the descriptor and the port never change, the rest has a lock.
package final class RawServer: @unchecked Sendable {
    package let port: Int
    private let listener: Int32
    private let seen = Locked(Seen())

    private struct Seen {
        var requests: [String] = []
        var connections = 0
        var open = 0
        var mostOpen = 0
    }

    /// Listens on a free port of this machine.
    ///
    /// The script is run for each connection on a thread of its own; the connection is closed when it returns.
    package init(_ script: @escaping @Sendable (RawConnection) -> Void) throws {
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, size) == 0 && listen(listener, 64) == 0
                    && getsockname(listener, address, &size) == 0
            }
        }
        guard result else { throw POSIXError(.EADDRNOTAVAIL) }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [seen] in
            while true {
                let descriptor = accept(listener, nil, nil)
                // Closed here and not by whoever is done with the server: until this thread has let go of the number,
                // no other server may get it.
                guard descriptor >= 0 else {
                    close(listener)
                    return
                }
                let number = seen.withLock { seen in
                    seen.connections += 1
                    seen.open += 1
                    seen.mostOpen = max(seen.mostOpen, seen.open)
                    return seen.connections
                }
                Thread.detachNewThread {
                    let connection = RawConnection(descriptor, number: number) { request in
                        seen.withLock { $0.requests.append(request) }
                    }
                    script(connection)
                    connection.end()
                    seen.withLock { $0.open -= 1 }
                }
            }
        }
    }

    deinit {
        // Ends the listening and the thread's waiting.
        shutdown(listener, Int32(SHUT_RDWR))
    }

    package func url(_ path: String = "/") -> String { "http://127.0.0.1:\(port)\(path)" }

    /// Every request received in full, head and body.
    package var requests: [String] { seen.withLock { $0.requests } }
    /// How many connections there have been.
    package var connections: Int { seen.withLock { $0.connections } }
    /// How many connections are open now.
    package var open: Int { seen.withLock { $0.open } }
    /// The most connections that were open at once.
    package var mostOpen: Int { seen.withLock { $0.mostOpen } }
}

/// One accepted connection.
package final class RawConnection {
    /// Counted from 1.
    package let number: Int
    private let descriptor: Int32
    private let record: (String) -> Void
    private var isOpen = true
    private var pending: [UInt8] = []

    init(_ descriptor: Int32, number: Int, record: @escaping (String) -> Void) {
        self.descriptor = descriptor
        self.number = number
        self.record = record
        // No test may hang for good, whatever goes wrong in it.
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Reads a whole request; nil when the other side has closed.
    @discardableResult
    package func request() -> String? {
        let end = Array("\r\n\r\n".utf8)
        while true {
            if let head = pending.firstRange(of: end) {
                let text = String(decoding: pending[..<head.upperBound], as: UTF8.self)
                let length = text.split(separator: "\r\n").lazy.compactMap { line -> Int? in
                    let parts = line.split(separator: ":", maxSplits: 1)
                    guard parts.count == 2, parts[0].lowercased() == "content-length" else { return nil }
                    return Int(parts[1].trimmingCharacters(in: .whitespaces))
                }.first
                let whole = head.upperBound + (length ?? 0)
                if pending.count >= whole {
                    let request = String(decoding: pending[..<whole], as: UTF8.self)
                    pending.removeFirst(whole)
                    record(request)
                    return request
                }
            }
            guard receive() else { return nil }
        }
    }

    /// Writes all bytes; false when the other side has closed.
    @discardableResult
    package func write(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult
    package func write(_ text: String) -> Bool { write(Array(text.utf8)) }

    /// Answers 200 with this body.
    package func answer(_ body: String = "ok", status: String = "200 OK", headers: String = "") {
        write("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)")
    }

    /// Answers every request until the other side closes.
    package func answerAll(_ body: String = "ok") {
        while request() != nil { answer(body) }
    }

    /// Waits until the other side closes.
    package func waitForClose() {
        while receive() {}
    }

    /// Closes so that the other side gets a reset instead of an end.
    package func reset() {
        var linger = Glibc.linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        end()
    }

    func end() {
        if isOpen { close(descriptor) }
        isOpen = false
    }

    private func receive() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        pending += buffer[..<count]
        return true
    }
}
