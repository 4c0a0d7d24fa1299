import Glibc

/// Sockets in the file system.
package enum UnixSocket {
    package static func listen(at path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let isListening = withAddress(of: path) { address, size in
            bind(descriptor, address, size) == 0 && Glibc.listen(descriptor, 64) == 0
        }
        guard isListening else { throw ProtocolError(text: "cannot listen at \(path)") }
        return descriptor
    }

    package static func connect(to path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        let isConnected = withAddress(of: path) { address, size in Glibc.connect(descriptor, address, size) == 0 }
        guard isConnected else { throw ProtocolError(text: "cannot connect to \(path)") }
        return descriptor
    }

    private static func withAddress(
        of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
    ) -> Bool {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { target in target.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                body(pointer, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

/// What kept the pooler from going on.
struct ProtocolError: Error {
    let text: String
}
