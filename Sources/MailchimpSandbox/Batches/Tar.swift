/// Files packed one after another, in the form that every `tar` reads.
struct Tar: Sendable {
    private static let block = 512
    private var packed: [UInt8] = []

    /// The archive, ended by two empty blocks.
    var bytes: [UInt8] { packed + [UInt8](repeating: 0, count: 2 * Self.block) }

    mutating func addFolder(_ name: String) { addHeader(name, size: 0, kind: "5", mode: "0000755") }

    mutating func addFile(_ name: String, _ content: [UInt8]) {
        addHeader(name, size: content.count, kind: "0", mode: "0000644")
        packed += content
        packed += [UInt8](repeating: 0, count: (Self.block - content.count % Self.block) % Self.block)
    }

    private mutating func addHeader(_ name: String, size: Int, kind: String, mode: String) {
        var header = [UInt8](repeating: 0, count: Self.block)
        func put(_ text: String, at offset: Int) {
            for (index, byte) in text.utf8.enumerated() { header[offset + index] = byte }
        }
        put(name, at: 0)
        put(mode, at: 100)
        put("0000000", at: 108)
        put("0000000", at: 116)
        put(Self.octal(size, 11), at: 124)
        put(Self.octal(0, 11), at: 136)
        // The checksum counts its own place as blanks.
        put("        ", at: 148)
        put(kind, at: 156)
        put("ustar", at: 257)
        put("00", at: 263)
        put(Self.octal(header.reduce(0) { $0 + Int($1) }, 6) + "\0", at: 148)
        packed += header
    }

    private static func octal(_ value: Int, _ width: Int) -> String {
        let digits = String(value, radix: 8)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
