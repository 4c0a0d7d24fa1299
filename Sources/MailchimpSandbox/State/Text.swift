extension StringProtocol {
    /// The text without white space at its ends.
    var trimming: SubSequence {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text = text.dropFirst() }
        while let last = text.last, last.isWhitespace { text = text.dropLast() }
        return text
    }
}

/// Percent coding as PHP does it.
enum PercentCoding {
    static func decode(_ text: some StringProtocol, plusIsSpace: Bool) -> String {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else {
            return String(text)
        }
        let bytes = Array(text.utf8)
        var decoded: [UInt8] = []
        var index = 0
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count,
                let byte = UInt8(String(decoding: bytes[index + 1...index + 2], as: UTF8.self), radix: 16)
            {
                decoded.append(byte)
                index += 3
                continue
            }
            let isSpace = plusIsSpace && bytes[index] == UInt8(ascii: "+")
            decoded.append(isSpace ? 0x20 : bytes[index])
            index += 1
        }
        return String(decoding: decoded, as: UTF8.self)
    }

    static func encode(_ text: String) -> String {
        var encoded: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                encoded.append(byte)
            case 0x20: encoded.append(UInt8(ascii: "+"))
            default:
                encoded.append(UInt8(ascii: "%"))
                let hex = String(byte, radix: 16, uppercase: true)
                encoded.append(contentsOf: (hex.count == 1 ? "0" + hex : hex).utf8)
            }
        }
        return String(decoding: encoded, as: UTF8.self)
    }
}
