/// A JSON object as it came, checked to be whole.
///
/// Only the structure is checked here; Postgres reads the rest. What JSON allows in a string but `jsonb` does not store, a
/// zero character and half of a surrogate pair, is replaced by U+FFFD, so that one odd contact does not cost the page.
struct RawPage {
    private(set) var bytes: [UInt8]

    init?(_ bytes: [UInt8]) {
        guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
        self.bytes = bytes
        guard repairAndCheck() else { return nil }
    }

    private mutating func repairAndCheck() -> Bool {
        var open: [UInt8] = []
        var isInString = false
        var hasBegun = false
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if isInString {
                if byte == UInt8(ascii: "\\") {
                    index = repairEscape(at: index)
                    continue
                }
                isInString = byte != UInt8(ascii: "\"")
            } else {
                let isSpace = byte == 0x20 || (0x09...0x0d).contains(byte)
                // Nothing but blanks before and after the one object.
                if open.isEmpty, !isSpace, hasBegun || byte != UInt8(ascii: "{") { return false }
                hasBegun = hasBegun || !isSpace
                switch byte {
                case UInt8(ascii: "\""): isInString = true
                case UInt8(ascii: "{"): open.append(UInt8(ascii: "}"))
                case UInt8(ascii: "["): open.append(UInt8(ascii: "]"))
                case UInt8(ascii: "}"), UInt8(ascii: "]"): if open.popLast() != byte { return false }
                default: break
                }
            }
            index += 1
        }
        return hasBegun && open.isEmpty && !isInString
    }

    /// Replaces an escape that `jsonb` refuses, and returns where to go on.
    private mutating func repairEscape(at index: Int) -> Int {
        guard let unit = escapedUnit(at: index) else { return index + 2 }
        if (0xd800...0xdbff).contains(unit), let next = escapedUnit(at: index + 6), (0xdc00...0xdfff).contains(next) {
            return index + 12
        }
        if unit == 0 || (0xd800...0xdfff).contains(unit) {
            bytes.replaceSubrange(index..<index + 6, with: #"\ufffd"#.utf8)
        }
        return index + 6
    }

    /// The UTF-16 unit of a `\uXXXX` that starts there.
    private func escapedUnit(at index: Int) -> UInt16? {
        guard index + 6 <= bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u") else {
            return nil
        }
        return UInt16(String(decoding: bytes[index + 2..<index + 6], as: UTF8.self), radix: 16)
    }
}
