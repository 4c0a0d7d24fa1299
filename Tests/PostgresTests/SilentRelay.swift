import FoundationEssentials
import Glibc
import IO
import Postgres
import TestSupport

/// Stands between client and server and passes everything on, until it falls silent: then connections stay open, new ones
/// are taken, and nobody hears from the other side again.
final class SilentRelay: Sendable {
    let settings: ConnectionSettings
    private let folder: String
    private let server: String
    private let listener: Int32
    private let isSilent = Locked(false)
    private let sockets = Locked<[Int32]>([])

    init(to database: ConnectionSettings) throws {
        folder = "/tmp/koppeling-relay-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let host = "\(database)".split(separator: " ").first { $0.hasPrefix("host=") }?.dropFirst(5) ?? ""
        server = host + "/.s.PGSQL.5432"
        listener = try UnixSocket.listen(at: folder + "/.s.PGSQL.5432")
        settings = ConnectionSettings(url: "host=\(folder) port=5432 user=koppeling").with(
            database: database.database ?? "koppeling")
        startThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0, let target = try? UnixSocket.connect(to: server) else { return }
                sockets.withLock { $0 += [client, target] }
                for (from, to) in [(client, target), (target, client)] { startThread { [self] in pass(from, to) } }
            }
        }
    }

    func fallSilent() {
        isSilent.withLock { $0 = true }
    }

    /// Hangs up on everybody.
    func end() {
        shutdown(listener, Int32(SHUT_RDWR))
        sockets.withLock { sockets in
            for socket in sockets { shutdown(socket, Int32(SHUT_RDWR)) }
        }
        try? FileManager.default.removeItem(atPath: folder)
    }

    private func pass(_ from: Int32, _ to: Int32) {
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            let count = read(from, &buffer, buffer.count)
            if isSilent.withLock({ $0 }) { return }
            guard count > 0, send(to, buffer, count, Int32(MSG_NOSIGNAL)) == count else {
                shutdown(to, Int32(SHUT_RDWR))
                return
            }
        }
    }
}
