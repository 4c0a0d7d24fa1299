import FoundationEssentials

/// JSON as text: a `jsonb` parameter or column that Swift need not take apart.
public struct JSONText: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The JSON.
    public var text: String

    /// Takes text that is JSON already; the server refuses it when it is not.
    public init(_ text: String) {
        self.text = text
    }

    /// Takes bytes that are JSON already, such as the body of an HTTP response.
    public init(utf8 bytes: some Collection<UInt8>) {
        text = String(decoding: bytes, as: UTF8.self)
    }

    /// Takes a literal that is JSON.
    public init(stringLiteral text: String) {
        self.text = text
    }

    /// Encodes a value; dates become RFC 3339 text, keys are sorted.
    public init(encoding value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .custom { date, encoder in
            var container = encoder.singleValueContainer()
            try container.encode(date.rfc3339)
        }
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        text = String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// Decodes a value; dates are RFC 3339 text.
    public func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .custom { decoder in
            let container = try decoder.singleValueContainer()
            let text = try container.decode(String.self)
            if let date = Date(rfc3339: text) { return date }
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "no moment in RFC 3339: \(text)")
        }
        return try decoder.decode(type, from: Data(text.utf8))
    }

    /// The JSON.
    public var description: String { text }
}

extension JSONText: PostgresElement {
    /// The server's `jsonb`.
    public static var postgresType: PostgresType { .jsonb }
    /// The server's `jsonb[]`.
    public static var postgresArrayType: PostgresType { .jsonbArray }

    /// Appends the version of the format and the text.
    public func encode(into bytes: inout [UInt8]) {
        bytes.append(1)
        bytes.append(contentsOf: text.utf8)
    }

    /// Reads a `json` or `jsonb`.
    public init(_ cell: Cell) throws(PostgresError) {
        _ = try cell.bytes(of: .jsonb, .json, as: "JSON")
        text = try String(cell)
    }
}
