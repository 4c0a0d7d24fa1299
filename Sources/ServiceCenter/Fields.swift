import FoundationEssentials
import Hummingbird
import Postgres

/// The named values of a request, from its query or its JSON body, each checked when it is taken.
///
/// What is wrong is thrown as a ``Problem`` that names the field.
struct Fields: Sendable {
    static let largestBody = 64 * 1024

    private enum Value: Sendable, Decodable {
        case none
        case text(String)
        case number(Double)
        case flag(Bool)
        case list([Double])
        case other

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .none
            } else if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else if let flag = try? container.decode(Bool.self) {
                self = .flag(flag)
            } else if let list = try? container.decode([Double].self) {
                self = .list(list)
            } else {
                self = .other
            }
        }
    }

    private var values: [String: Value] = [:]
    /// In a query everything is text.
    private var areText = false

    /// The fields of the query, none of them unknown.
    init(queryOf request: Request, known: Set<String>) throws {
        areText = true
        guard case .fields(let fields) = try FormValue(urlEncoded: (request.uri.query ?? "").utf8) else { return }
        for (name, value) in fields {
            if case .text(let text) = value { values[name] = .text(text) } else { values[name] = .other }
        }
        try refuseUnknown(known)
    }

    /// The fields of the body, none of them unknown; no body has none.
    init(bodyOf request: Request, known: Set<String>) async throws {
        let body = try await request.json(upTo: Self.largestBody)
        if !body.text.isEmpty {
            do {
                values = try body.decode()
            } catch {
                throw Problem(.badRequest, "The body is not a JSON object.", field: "body")
            }
        }
        try refuseUnknown(known)
    }

    private func refuseUnknown(_ known: Set<String>) throws {
        guard let unknown = values.keys.filter({ !known.contains($0) }).min() else { return }
        throw Problem(
            .unprocessableContent, "is not known here; these are: \(known.sorted().joined(separator: ", "))",
            field: unknown)
    }

    /// Text that is not empty.
    func text(_ name: String) throws -> String? {
        switch values[name] ?? .none {
        case .none: return nil
        case .text(let text) where !text.isEmpty && !text.contains("\0"): return text
        default: throw Problem(.unprocessableContent, "must be text that is not empty", field: name)
        }
    }

    /// A number.
    func number(_ name: String) throws -> Double? {
        switch values[name] ?? .none {
        case .none: return nil
        case .number(let number): return number
        case .text(let text):
            if areText, let number = Double(text) { return number }
            fallthrough
        default: throw Problem(.unprocessableContent, "must be a number", field: name)
        }
    }

    /// A whole number within these.
    func integer(_ name: String, in range: ClosedRange<Int64>) throws -> Int64? {
        guard let number = try number(name) else { return nil }
        guard let integer = Int64(exactly: number), range.contains(integer) else {
            throw Problem(
                .unprocessableContent, "must be a whole number from \(range.lowerBound) to \(range.upperBound)",
                field: name)
        }
        return integer
    }

    /// True or false.
    func flag(_ name: String) throws -> Bool? {
        switch values[name] ?? .none {
        case .none: return nil
        case .flag(let flag): return flag
        case .text(let text):
            if areText, let flag = Bool(text) { return flag }
            fallthrough
        default: throw Problem(.unprocessableContent, "must be true or false", field: name)
        }
    }

    /// One to so many numbers of something.
    func numbers(_ name: String, atMost most: Int) throws -> [Int64]? {
        switch values[name] ?? .none {
        case .none: return nil
        case .list(let list) where (1...most).contains(list.count):
            let numbers = list.compactMap { Int64(exactly: $0) }
            if numbers.count == list.count { return numbers }
            fallthrough
        default: throw Problem(.unprocessableContent, "must be a list of 1 to \(most) whole numbers", field: name)
        }
    }

    /// One of these words.
    func choice<Choice>(_ name: String, of choices: Choice.Type) throws -> Choice?
    where Choice: RawRepresentable<String> & CaseIterable {
        guard let text = try text(name) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let words = choices.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.unprocessableContent, "must be one of \(words)", field: name)
        }
        return choice
    }

    /// Text, which may be empty.
    func anyText(_ name: String) throws -> String? {
        if case .text("") = values[name] ?? .none { return "" }
        return try text(name)
    }

    /// Text that must be given; the message says for what.
    func required(_ name: String, _ wish: String) throws -> String {
        guard let text = try text(name) else {
            throw Problem(.unprocessableContent, "is missing: \(wish)", field: name)
        }
        return text
    }

    /// A moment in RFC 3339.
    func moment(_ name: String) throws -> Date? {
        guard let text = try text(name) else { return nil }
        if let moment = Date(rfc3339: text) { return moment }
        throw Problem(.unprocessableContent, "must be a moment such as 2026-05-31T08:00:00Z", field: name)
    }
}

/// The part of the path that a route leaves open, decoded.
func decoded(_ name: String, in context: BasicRequestContext) -> String {
    percentDecoded((context.parameters.get(name) ?? "").utf8, isForm: false)
}

extension [any CodingKey] {
    /// The places on the way to a value, as `rules[0][1].kind` has them, in one text.
    var place: String {
        reduce(into: "") { place, key in
            if let index = key.intValue {
                place += "[\(index)]"
            } else {
                place += (place.isEmpty ? "" : ".") + key.stringValue
            }
        }
    }
}
