/// The value of a form field, or the fields below it: `data[merges][FNAME]=Ann` is three levels of names.
enum FormValue: Sendable, Hashable {
    case text(String)
    case fields([String: FormValue])

    /// Why a body is not taken.
    enum Refusal: Error, CustomStringConvertible {
        case tooManyFields
        case tooDeep

        var description: String {
            switch self {
            case .tooManyFields: "it has more than \(FormValue.mostFields) fields"
            case .tooDeep: "a field's name is more than \(FormValue.deepest) levels deep"
            }
        }
    }

    static let mostFields = 2_000
    static let deepest = 8

    /// Reads a body of type `application/x-www-form-urlencoded`, with names in the brackets of PHP.
    ///
    /// Of two values of one name the later counts, as in PHP; `name[]` numbers the values.
    init(urlEncoded body: some Collection<UInt8>) throws {
        self = .fields([:])
        let pairs = body.split(separator: UInt8(ascii: "&"), maxSplits: Self.mostFields)
        guard pairs.count <= Self.mostFields else { throw Refusal.tooManyFields }
        for pair in pairs {
            let halves = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let name = percentDecoded(halves[0])
            guard !name.isEmpty else { continue }
            try set(Self.levels(of: name)[...], to: halves.count > 1 ? percentDecoded(halves[1]) : "")
        }
    }

    /// The value below these names.
    subscript(path: String...) -> FormValue? {
        path.reduce(self as FormValue?) { value, name in
            guard case .fields(let fields) = value else { return nil }
            return fields[name]
        }
    }

    private mutating func set(_ path: ArraySlice<String>, to value: String) throws {
        guard let name = path.first else {
            self = .text(value)
            return
        }
        var fields: [String: FormValue] = if case .fields(let existing) = self { existing } else { [:] }
        let key = name.isEmpty ? String(fields.count) : name
        // Taken out while it changes, so that nothing is copied.
        var child = fields.removeValue(forKey: key) ?? .fields([:])
        try child.set(path.dropFirst(), to: value)
        fields[key] = child
        self = .fields(fields)
    }

    /// The names on the way to a field; a name whose brackets do not pair is one name.
    private static func levels(of name: String) throws -> [String] {
        guard let open = name.firstIndex(of: "["), open != name.startIndex else { return [name] }
        var levels = [String(name[..<open])]
        var rest = name[open...]
        while !rest.isEmpty {
            guard rest.first == "[", let close = rest.firstIndex(of: "]") else { return [name] }
            levels.append(String(rest[rest.index(after: rest.startIndex)..<close]))
            rest = rest[rest.index(after: close)...]
            guard levels.count <= deepest else { throw Refusal.tooDeep }
        }
        return levels
    }
}

extension FormValue: Encodable {
    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .fields(let fields): try container.encode(fields)
        }
    }
}

/// Undoes the encoding of a form's names and values, or of a part of a path, where a plus is a plus.
///
/// A zero byte becomes a replacement character, because PostgreSQL keeps none in text.
func percentDecoded(_ bytes: some Collection<UInt8>, isForm: Bool = true) -> String {
    var decoded: [UInt8] = []
    decoded.reserveCapacity(bytes.count)
    var index = bytes.startIndex
    while index < bytes.endIndex {
        let byte = bytes[index]
        bytes.formIndex(after: &index)
        switch byte {
        case UInt8(ascii: "+") where isForm:
            decoded.append(UInt8(ascii: " "))
        case UInt8(ascii: "%"):
            let digits = bytes[index...].prefix(2)
            if digits.count == 2, let value = hexadecimal(digits) {
                decoded.append(value)
                index = digits.endIndex
            } else {
                decoded.append(byte)
            }
        default:
            decoded.append(byte)
        }
    }
    let text = String(decoding: decoded, as: UTF8.self)
    return text.contains("\0")
        ? text.split(separator: "\0", omittingEmptySubsequences: false).joined(separator: "\u{FFFD}") : text
}

private func hexadecimal(_ digits: some Collection<UInt8>) -> UInt8? {
    var value: UInt8 = 0
    for digit in digits {
        let nibble: UInt8
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): nibble = digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): nibble = digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): nibble = digit - UInt8(ascii: "A") + 10
        default: return nil
        }
        value = value * 16 + nibble
    }
    return value
}
