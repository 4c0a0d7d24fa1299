import FoundationEssentials

/// Goes once over JSON and checks it by the grammar of RFC 8259, building nothing.
///
/// It refuses what the grammar allows and PostgreSQL does not take: nesting without end, and a number beyond `numeric`.
struct JSONScanner {
    /// Far deeper than anything of Mailchimp's.
    static let deepest = 64
    /// The most characters of a number, and the most digits of its exponent.
    static let longestNumber = 100, longestExponent = 3

    private let bytes: [UInt8]
    private let list: [UInt8]
    private let moments: [[UInt8]]
    private static let contactID = Array(#"contact_id""#.utf8), lastChanged = Array(#"last_changed""#.utf8)
    private var index = 0
    private var listsFound = 0

    /// What is to be written instead of what, in the order of the places.
    private var repairs: [(place: Range<Int>, by: String)] = []

    /// What the list's objects say of themselves.
    private(set) var contacts: [RawPage.Contact] = []
    private var contact = RawPage.Contact()

    /// A scanner of an object that holds a list of objects under one key, and in each of these moments under others.
    init(_ bytes: [UInt8], list: String, moments: [String]) {
        self.bytes = bytes
        self.list = Array(list.utf8)
        self.moments = moments.map { Array("\($0)\"".utf8) }
    }

    /// Whether the bytes are one such object and nothing else.
    mutating func isWhole() -> Bool {
        skipBlanks()
        guard peek == UInt8(ascii: "{"), object(depth: 1) else { return false }
        skipBlanks()
        return index == bytes.count && listsFound == 1
    }

    /// The object with what PostgreSQL does not take replaced.
    var repaired: [UInt8] {
        guard !repairs.isEmpty else { return bytes }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var end = 0
        for repair in repairs {
            result += bytes[end..<repair.place.lowerBound]
            result += repair.by.utf8
            end = repair.place.upperBound
        }
        return result + bytes[end...]
    }

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipBlanks() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { index += 1 }
    }

    private mutating func value(depth: Int) -> Bool {
        switch peek {
        case UInt8(ascii: "\""): string()
        case UInt8(ascii: "{"): object(depth: depth + 1)
        case UInt8(ascii: "["): array(depth: depth + 1)
        case UInt8(ascii: "t"): word("true")
        case UInt8(ascii: "f"): word("false")
        case UInt8(ascii: "n"): word("null")
        default: number()
        }
    }

    private mutating func object(depth: Int) -> Bool {
        guard depth <= Self.deepest, take(UInt8(ascii: "{")) else { return false }
        skipBlanks()
        if take(UInt8(ascii: "}")) { return true }
        while true {
            let key = index + 1
            guard string() else { return false }
            // Of two values of one key `jsonb` keeps the later, so the list must be the only one of its key.
            let isList = depth == 1 && bytes[key..<index - 1].elementsEqual(list)
            skipBlanks()
            guard take(UInt8(ascii: ":")) else { return false }
            skipBlanks()
            if isList {
                listsFound += 1
                guard array(depth: depth + 1, ofObjects: true) else { return false }
            } else {
                // The list's own objects are that deep; what is of the name elsewhere does no harm.
                let name = depth == 3 ? bytes[key..<index] : []
                let start = index
                guard value(depth: depth) else { return false }
                if moments.contains(where: { name.starts(with: $0) }) {
                    let moment = moment(at: start..<index)
                    if name.starts(with: Self.lastChanged) { contact.lastChanged = moment }
                } else if name.starts(with: Self.contactID), bytes[start] == UInt8(ascii: "\"") {
                    contact.id = String(decoding: bytes[start + 1..<index - 1], as: UTF8.self)
                }
            }
            skipBlanks()
            if take(UInt8(ascii: "}")) { return true }
            guard take(UInt8(ascii: ",")) else { return false }
            skipBlanks()
        }
    }

    /// Reads a moment, and takes away one that is none, which would cost the page.
    private mutating func moment(at place: Range<Int>) -> Date? {
        let isText = bytes[place.lowerBound] == UInt8(ascii: "\"")
        let text = isText ? bytes[place].dropFirst().dropLast() : bytes[place]
        guard !(isText ? text.isEmpty : text.elementsEqual("null".utf8)) else { return nil }
        if isText, let moment = Timestamp.parse(String(decoding: text, as: UTF8.self)) { return moment }
        while let last = repairs.last, last.place.lowerBound >= place.lowerBound { repairs.removeLast() }
        repairs.append((place, #""""#))
        return nil
    }

    private mutating func array(depth: Int, ofObjects: Bool = false) -> Bool {
        guard depth <= Self.deepest, take(UInt8(ascii: "[")) else { return false }
        skipBlanks()
        if take(UInt8(ascii: "]")) { return true }
        while true {
            if ofObjects { contact = RawPage.Contact() }
            guard !ofObjects || peek == UInt8(ascii: "{"), value(depth: depth) else { return false }
            if ofObjects { contacts.append(contact) }
            skipBlanks()
            if take(UInt8(ascii: "]")) { return true }
            guard take(UInt8(ascii: ",")) else { return false }
            skipBlanks()
        }
    }

    private mutating func word(_ word: String) -> Bool {
        for byte in word.utf8 where !take(byte) { return false }
        return true
    }

    private mutating func number() -> Bool {
        let start = index
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")), digits() == 0 { return false }
        if take(UInt8(ascii: ".")), digits() == 0 { return false }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard (1...Self.longestExponent).contains(digits()) else { return false }
        }
        return index - start <= Self.longestNumber
    }

    private mutating func digits() -> Int {
        let start = index
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { index += 1 }
        return index - start
    }

    private mutating func string() -> Bool {
        guard take(UInt8(ascii: "\"")) else { return false }
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                index += 1
                return true
            case UInt8(ascii: "\\"): guard escape() else { return false }
            case 0..<0x20: return false
            default: index += 1
            }
        }
        return false
    }

    private mutating func escape() -> Bool {
        guard index + 1 < bytes.count else { return false }
        guard bytes[index + 1] == UInt8(ascii: "u") else {
            let isKnown = #""\/bfnrt"#.utf8.contains(bytes[index + 1])
            index += 2
            return isKnown
        }
        guard let unit = escapedUnit(at: index) else { return false }
        if (0xd800...0xdbff).contains(unit), let next = escapedUnit(at: index + 6), (0xdc00...0xdfff).contains(next) {
            index += 12
            return true
        }
        if unit == 0 || (0xd800...0xdfff).contains(unit) {
            repairs.append((index..<index + 6, #"\ufffd"#))
        }
        index += 6
        return true
    }

    /// The UTF-16 unit of a `\uXXXX` that starts there.
    private func escapedUnit(at index: Int) -> UInt16? {
        guard index + 6 <= bytes.count, bytes[index] == UInt8(ascii: "\\"), bytes[index + 1] == UInt8(ascii: "u") else {
            return nil
        }
        var unit: UInt16 = 0
        for byte in bytes[index + 2..<index + 6] {
            guard let digit = byte.hexDigitValue else { return nil }
            unit = unit << 4 | UInt16(digit)
        }
        return unit
    }
}

extension UInt8 {
    /// The value of a hexadecimal digit of either case.
    var hexDigitValue: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
