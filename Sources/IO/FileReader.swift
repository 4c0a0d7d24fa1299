import Glibc

/// A file that is read from its beginning to its end, in pieces.
///
/// Reading happens on a side thread, because a disk or a network folder may take its time.
public final class FileReader {
    /// The length of the file when it was opened, for showing progress.
    public let size: Int

    private let path: String
    private let descriptor: Int32

    private init(path: String, descriptor: Int32, size: Int) {
        self.path = path
        self.descriptor = descriptor
        self.size = size
    }

    deinit {
        close(descriptor)
    }

    /// Opens the file at this path.
    public static func open(_ path: String) async throws(FileError) -> FileReader {
        let (descriptor, size) = try await blocking { () throws(FileError) in
            let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw FileError("open", path) }
            var status = stat()
            guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
                let error = FileError("read", path, code: status.st_mode & S_IFMT == S_IFDIR ? EISDIR : errno)
                close(descriptor)
                throw error
            }
            return (descriptor, Int(status.st_size))
        }
        return FileReader(path: path, descriptor: descriptor, size: size)
    }

    /// The next piece; empty at the end of the file.
    public func next(_ maximum: Int = 262_144) async throws(FileError) -> [UInt8] {
        let (path, descriptor) = (path, descriptor)
        return try await blocking { () throws(FileError) in
            var failure: FileError?
            let piece = [UInt8](unsafeUninitializedCapacity: maximum) { buffer, count in
                var result: Int
                repeat { result = read(descriptor, buffer.baseAddress, maximum) } while result < 0 && errno == EINTR
                if result < 0 { failure = FileError("read", path) }
                count = max(0, result)
            }
            if let failure { throw failure }
            return piece
        }
    }
}

/// What the system said about a file.
public struct FileError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One line: what could not be done, with which file, and why.
    public let description: String

    init(_ deed: String, _ path: String, code: Int32 = errno) {
        description = "cannot \(deed) \(path): \(String(cString: strerror(code)))"
    }
}
