import FoundationEssentials

/// Reading what Mailchimp really sends: keys that are missing, numbers where text is documented and the other way round,
/// and "" for a date that there is not.
extension KeyedDecodingContainer {
    /// The value if it is there and of that type, else nil.
    func lenient<T: Decodable>(_: T.Type, _ key: Key) -> T? {
        // A value of another type counts as absent, which is the point of being lenient.
        (try? decodeIfPresent(T.self, forKey: key)) ?? nil
    }

    /// Text, or a number or truth value written as text; nil when absent, null or a structure.
    func text(_ key: Key) -> String? {
        lenient(Scalar.self, key)?.text
    }

    /// Text that says something: "" counts as absent.
    func filled(_ key: Key) -> String? {
        text(key).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// A whole number, also when it comes as text.
    func integer(_ key: Key) -> Int64? {
        switch lenient(Scalar.self, key) {
        case .integer(let value): value
        case .number(let value): Int64(exactly: value)
        case .text(let text): Int64(text)
        case .flag, nil: nil
        }
    }

    /// A truth value, also when it comes as text or a number.
    func flag(_ key: Key) -> Bool? {
        switch lenient(Scalar.self, key) {
        case .flag(let value): value
        case .integer(let value): value != 0
        case .number(let value): value != 0
        case .text(let text): text.isEmpty ? nil : text == "1" || text.lowercased() == "true"
        case nil: nil
        }
    }

    /// A point in time; "" counts as absent.
    func date(_ key: Key) -> Date? {
        filled(key).flatMap(Timestamp.parse)
    }
}

/// Any JSON value that is not a structure.
enum Scalar: Decodable {
    case text(String)
    case integer(Int64)
    case number(Double)
    case flag(Bool)

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let flag = try? value.decode(Bool.self) {
            self = .flag(flag)
        } else if let integer = try? value.decode(Int64.self) {
            self = .integer(integer)
        } else {
            self = .number(try value.decode(Double.self))
        }
    }

    var text: String {
        switch self {
        case .text(let text): text
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .flag(let value): String(value)
        }
    }
}
