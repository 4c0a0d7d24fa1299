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
        case other

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .none
            } else if let text = try? container.decode(String.self) {
                self = .text(text)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
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
        case .other: throw Problem(.unprocessableContent, "must be a number", field: name)
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

    /// A moment in ISO 8601.
    func moment(_ name: String) throws -> Date? {
        guard let text = try text(name) else { return nil }
        for style in [Date.ISO8601FormatStyle(), Date.ISO8601FormatStyle(includingFractionalSeconds: true)] {
            if let moment = try? style.parse(text) { return moment }
        }
        throw Problem(.unprocessableContent, "must be a moment such as 2026-05-31T08:00:00Z", field: name)
    }
}

/// The part of the path that a route leaves open, decoded.
func decoded(_ name: String, in context: BasicRequestContext) -> String {
    percentDecoded((context.parameters.get(name) ?? "").utf8, isForm: false)
}
