import Hummingbird
import Postgres
import TargetGroups

/// The body of a request about rules: `{"version": 3, "rules": [[{"kind": ..., "value": ..., "negated": true}]], ...}`.
///
/// Whatever is not known is refused, above all in a criterion: without its `negated` one means the opposite.
struct RulesBody: Sendable {
    static let largest = 1024 * 1024

    var version: Int?
    var rules: [[Criterion]]
    var confirm = false
    var exact = false

    init(of request: Request, known: Set<String>) async throws {
        let body = try await request.json(upTo: Self.largest)
        let asked: Asked
        do {
            asked = try body.decode()
        } catch let error as Unknown {
            throw error.problem
        } catch let error as DecodingError {
            throw Self.problem(error)
        }
        if let unknown = asked.given.subtracting(known).min() {
            throw Unknown(field: unknown, known: known).problem
        }
        version = asked.version
        rules = asked.rules.map { $0.map { Criterion($0.value, kind: $0.kind, negated: $0.negated) } }
        confirm = asked.confirm ?? false
        exact = asked.exact ?? false
    }

    private static func problem(_ error: DecodingError) -> Problem {
        switch error {
        case .keyNotFound(let key, let context):
            return Problem(.unprocessableContent, "is missing", field: (context.codingPath + [key]).place)
        case .typeMismatch(_, let context) where !context.codingPath.isEmpty,
            .valueNotFound(_, let context) where !context.codingPath.isEmpty,
            .dataCorrupted(let context) where !context.codingPath.isEmpty:
            return Problem(
                .unprocessableContent,
                "does not fit: rules are a list of lists of criteria, such as "
                    + #"[[{"kind": "function", "value": "Directeur"}, {"value": "Group / Name", "negated": true}]]"#,
                field: context.codingPath.place)
        default: return Problem(.badRequest, "The body is not a JSON object.", field: "body")
        }
    }

    private struct Unknown: Error {
        var field: String
        var known: Set<String>

        var problem: Problem {
            Problem(
                .unprocessableContent, "is not known here; these are: \(known.sorted().joined(separator: ", "))",
                field: field)
        }
    }

    private struct Name: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private struct Asked: Decodable {
        var given: Set<String>
        var version: Int?
        var rules: [[AskedCriterion]]
        var confirm: Bool?
        var exact: Bool?

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Name.self)
            given = Set(container.allKeys.map(\.stringValue))
            version = try container.decodeIfPresent(Int.self, forKey: Name(stringValue: "version"))
            rules = try container.decode([[AskedCriterion]].self, forKey: Name(stringValue: "rules"))
            confirm = try container.decodeIfPresent(Bool.self, forKey: Name(stringValue: "confirm"))
            exact = try container.decodeIfPresent(Bool.self, forKey: Name(stringValue: "exact"))
        }
    }

    private struct AskedCriterion: Decodable {
        var kind: Criterion.Kind
        var value: String
        var negated: Bool

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Name.self)
            let known: Set = ["kind", "value", "negated"]
            if let unknown = container.allKeys.map(\.stringValue).filter({ !known.contains($0) }).min() {
                throw Unknown(field: decoder.codingPath.place + "." + unknown, known: known)
            }
            let word = try container.decodeIfPresent(String.self, forKey: Name(stringValue: "kind"))
            guard let kind = word.map(Criterion.Kind.init(rawValue:)) ?? .personCategory else {
                throw Unknown(
                    field: decoder.codingPath.place + ".kind", known: Set(Criterion.Kind.allCases.map(\.rawValue)))
            }
            self.kind = kind
            value = try container.decode(String.self, forKey: Name(stringValue: "value"))
            negated = try container.decodeIfPresent(Bool.self, forKey: Name(stringValue: "negated")) ?? false
        }
    }
}
