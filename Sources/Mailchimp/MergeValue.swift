/// The value of a merge field.
public enum MergeValue: Sendable, Hashable, Codable, ExpressibleByStringLiteral {
    /// Text, a date, a choice; "" clears a field of any type.
    case text(String)
    /// A number.
    case number(Double)
    /// The parts of an address.
    case parts([String: String])

    /// Makes a text.
    public init(stringLiteral value: String) {
        self = .text(value)
    }

    /// Reads what is there; null and anything unheard of count as empty.
    public init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        switch try? value.decode(Scalar.self) {
        case .text(let text): self = .text(text)
        case .integer(let integer): self = .number(Double(integer))
        case .number(let number): self = .number(number)
        case .flag(let flag): self = .text(String(flag))
        case nil: self = (try? value.decode([String: String].self)).map(MergeValue.parts) ?? .text("")
        }
    }

    /// Writes text as text, a number as a number, parts as an object.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .number(let number):
            if let whole = Int64(exactly: number) { try container.encode(whole) } else { try container.encode(number) }
        case .parts(let parts): try container.encode(parts)
        }
    }

    /// The value as one text, "" when empty; parts are joined by blanks in the order of their names.
    public var text: String {
        switch self {
        case .text(let text): text
        case .number(let number): Int64(exactly: number).map { String($0) } ?? String(number)
        case .parts(let parts):
            parts.sorted { $0.key < $1.key }.map(\.value).filter { !$0.isEmpty }.joined(separator: " ")
        }
    }
}
