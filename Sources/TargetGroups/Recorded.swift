/// A value that the audit keeps, whatever its shape: a status with what explains it, a decision, a setting.
public enum Recorded: Sendable, Hashable, Codable {
    case none
    case flag(Bool)
    case number(Double)
    case text(String)
    case list([Recorded])
    case fields([String: Recorded])

    /// Reads any JSON.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .none
        } else if let flag = try? container.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? container.decode(Double.self) {
            self = .number(number)
        } else if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let list = try? container.decode([Recorded].self) {
            self = .list(list)
        } else {
            self = .fields(try container.decode([String: Recorded].self))
        }
    }

    /// Writes the same JSON.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .none: try container.encodeNil()
        case .flag(let flag): try container.encode(flag)
        case .number(let number): try container.encode(number)
        case .text(let text): try container.encode(text)
        case .list(let list): try container.encode(list)
        case .fields(let fields): try container.encode(fields)
        }
    }

    /// For a reader: a status as "inactive (unsubscribed)", anything else in plain words.
    public var words: String {
        switch self {
        case .none: return "none"
        case .flag(let flag): return flag ? "true" : "false"
        case .number(let number): return number == number.rounded() ? "\(Int64(number))" : "\(number)"
        case .text(let text): return text
        case .list(let list): return list.map(\.words).joined(separator: ", ")
        case .fields(let fields):
            guard case .text(let status)? = fields["status"] else {
                return fields.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.words)" }.joined(separator: ", ")
            }
            let explained = [fields["via"], fields["reasons"]].compactMap { $0 == Recorded.none ? nil : $0?.words }
                .filter { !$0.isEmpty }
            return explained.isEmpty ? status : "\(status) (\(explained.joined(separator: ", ")))"
        }
    }
}
