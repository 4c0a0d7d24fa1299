import FoundationEssentials
import Glibc
import IO

/// The terminal: results on stdout, everything else on stderr.
enum Console {
    /// Writes a line of the result.
    static func line(_ text: String) {
        write(text + "\n", to: STDOUT_FILENO)
    }

    /// Writes a line that is not part of the result.
    static func error(_ text: String) {
        write(text + "\n", to: STDERR_FILENO)
    }

    /// All of stdin.
    static func input() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let chunk = await chunk() { bytes += chunk }
        return bytes
    }

    /// The next bytes of stdin; nil at its end.
    static func chunk() async -> [UInt8]? {
        let bytes = await blocking {
            unsafe [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
                unsafe count = max(0, Glibc.read(STDIN_FILENO, buffer.baseAddress, buffer.count))
            }
        }
        return bytes.isEmpty ? nil : bytes
    }

    /// The bytes of a file with JSON, or of stdin when the path is `-`.
    ///
    /// Whoever wrote the JSON itself in its place is told how, by the example; the JSON is not repeated.
    static func json(of path: String, example: String) async throws -> [UInt8] {
        if path == "-" { return try await input() }
        if let first = path.first(where: { !$0.isWhitespace }), "{[".contains(first) {
            throw Failure("Give the JSON in a file or on stdin: \(example).", code: 2)
        }
        do {
            return try await blocking { Array(try Data(contentsOf: URL(filePath: path))) }
        } catch {
            throw Failure("The file \(path) cannot be read: check its name and its permissions.")
        }
    }

    /// Writes bytes that are part of the result.
    static func output(_ bytes: [UInt8]) {
        write(bytes[...], to: STDOUT_FILENO)
    }

    private static func write(_ text: String, to descriptor: Int32) {
        write(Array(text.utf8)[...], to: descriptor)
    }

    private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) {
        var bytes = bytes
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            // Nobody reads any longer.
            guard written > 0 else { Glibc.exit(descriptor == STDOUT_FILENO ? 1 : 0) }
            bytes = bytes.dropFirst(written)
        }
    }
}

extension BinaryInteger {
    /// So many of something: "1 row", "2 rows", "2 addresses".
    func counted(_ one: String, _ many: String? = nil) -> String {
        self == 1 ? "1 \(one)" : "\(self) \(many ?? one + "s")"
    }
}

/// The lines of stdin that are not blank, with their numbers.
struct InputLines {
    private var buffer: [UInt8] = []
    private var start = 0
    private var number = 0
    private var isAtEnd = false

    /// The next line; nil at the end.
    mutating func next() async throws -> (number: Int, text: String)? {
        while true {
            if let end = buffer[start...].firstIndex(of: UInt8(ascii: "\n")) {
                if let line = take(upTo: end) { return line }
            } else if isAtEnd {
                return start < buffer.count ? take(upTo: buffer.count) : nil
            } else {
                buffer.removeFirst(start)
                start = 0
                if let chunk = await Console.chunk() { buffer += chunk } else { isAtEnd = true }
            }
        }
    }

    private mutating func take(upTo end: Int) -> (number: Int, text: String)? {
        let text = String(decoding: buffer[start..<end], as: UTF8.self)
        start = min(end + 1, buffer.count)
        number += 1
        return text.allSatisfy(\.isWhitespace) ? nil : (number, text)
    }
}
