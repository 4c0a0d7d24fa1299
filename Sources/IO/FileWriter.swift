import Glibc

/// A file that is written in pieces and appears under its name only when it is complete.
///
/// Until `finish` it is a file with `.part` behind its name; it is removed when nobody finishes it.
public final class FileWriter {
    private let path: String
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private var isFinished = false

    private init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
        if !isFinished { unlink(path + ".part") }
    }

    /// Begins the file; only its owner may read it.
    public static func create(_ path: String) async throws(FileError) -> FileWriter {
        let descriptor = try await blocking { () throws(FileError) in
            let descriptor = open(path + ".part", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw FileError("write", path) }
            return descriptor
        }
        return FileWriter(path: path, descriptor: descriptor)
    }

    /// Adds bytes.
    public func write(_ bytes: some Sequence<UInt8>) async throws(FileError) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= 65_536 { try await flush() }
    }

    /// Completes the file and gives it its name.
    public func finish() async throws(FileError) {
        try await flush()
        let (path, descriptor) = (path, descriptor)
        try await blocking { () throws(FileError) in
            guard fsync(descriptor) == 0, rename(path + ".part", path) == 0 else { throw FileError("write", path) }
        }
        isFinished = true
    }

    private func flush() async throws(FileError) {
        let (path, descriptor, piece) = (path, descriptor, buffer)
        buffer.removeAll(keepingCapacity: true)
        try await blocking { () throws(FileError) in
            var start = 0
            while start < piece.count {
                let written = piece.withUnsafeBytes { bytes in
                    Glibc.write(descriptor, bytes.baseAddress?.advanced(by: start), bytes.count - start)
                }
                if written < 0 && errno == EINTR { continue }
                guard written >= 0 else { throw FileError("write", path) }
                start += written
            }
        }
    }
}
