@testable import MailchimpSandbox

/// The type of a value, as ``OfficialShapes`` writes it.
indirect enum Shape: Sendable {
    case any, boolean, integer, number, time
    case text(Set<String>)
    case list(Shape)
    case map(Shape)
    case object(String)

    init(_ text: Substring) {
        switch text {
        case "any": self = .any
        case "boolean": self = .boolean
        case "integer": self = .integer
        case "number": self = .number
        case "time": self = .time
        case "string": self = .text([])
        case _ where text.hasPrefix("["): self = .list(Shape(text.dropFirst().dropLast()))
        case _ where text.hasPrefix("{"): self = .map(Shape(text.dropFirst().dropLast()))
        case _ where text.hasPrefix("string("):
            self = .text(Set(text.dropFirst(7).dropLast().split(separator: "|").map(String.init)))
        default: self = .object(String(text))
        }
    }
}

/// The official shapes, read once.
struct ShapeBook: Sendable {
    struct Field: Sendable {
        let name: String
        let shape: Shape
        let isRequired: Bool
    }

    static let official = ShapeBook(calls: OfficialShapes.calls, objects: OfficialShapes.objects)

    private let calls: [(method: String, path: [Substring], object: String)]
    private let objects: [String: [Field]]

    init(calls: String, objects: String) {
        self.calls = calls.split(separator: "\n").flatMap { line in
            let words = line.split(separator: " ")
            let path = words[1].split(separator: "/")
            return words[0].split(separator: ",").map { (String($0), path, String(words[2])) }
        }
        let lines = objects.replacing("\n  ", with: " ").split(separator: "\n")
        self.objects = Dictionary(
            uniqueKeysWithValues: lines.map { line in
                let parts = line.split(separator: ": ", maxSplits: 1)
                let fields = parts[1].split(separator: ", ").map { field in
                    let words = field.split(separator: " ")
                    let name = words[0].filter { $0 != "!" }
                    return Field(name: name, shape: Shape(words[1]), isRequired: words[0].hasSuffix("!"))
                }
                return (String(parts[0]), fields)
            })
    }

    /// The object that a call is answered with, when the specification knows the call.
    func object(of method: String, _ path: String) -> String? {
        let parts = path.split(separator: "/")
        return calls.first { call in
            call.method == method && call.path.count == parts.count
                && zip(call.path, parts).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
        }?.object
    }

    /// The fields of an object.
    func fields(of object: String) -> [Field] { objects[object] ?? [] }

    /// Every difference of a value from an object of this book; of a partial one no field is missed.
    func findings(in value: JSON, as object: String, isPartial: Bool) -> [Finding] {
        var search = Search(book: self, isPartial: isPartial)
        search.look(at: value, as: .object(object), in: object, "")
        return search.findings
    }

    private struct Search {
        let book: ShapeBook
        let isPartial: Bool
        var findings: [Finding] = []

        mutating func look(at value: JSON, as shape: Shape, in object: String, _ field: String) {
            func fault(_ fault: Finding.Fault) { findings.append(Finding(object: object, field: field, fault: fault)) }
            switch (shape, value) {
            case (.any, _), (.boolean, .bool), (.integer, .integer), (.number, .integer), (.number, .number): break
            case (.time, .string(let text)):
                if Timestamp.milliseconds(text) == nil { fault(.value(text)) }
            case (.text(let allowed), .string(let text)):
                if !allowed.isEmpty, !allowed.contains(text) { fault(.value(text)) }
            case (.list(let element), .array(let values)):
                for value in values { look(at: value, as: element, in: object, field) }
            case (.map(let element), .object(let values)):
                for pair in values.pairs { look(at: pair.value, as: element, in: object, field) }
            case (.object(let name), .object(let values)): look(at: values, as: name)
            default: fault(.type(value.kind))
            }
        }

        private mutating func look(at values: JSONObject, as object: String) {
            let given = Dictionary(values.pairs.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
            var known = 0
            let fields = book.fields(of: object)
            for field in fields {
                if let value = given[field.name] {
                    known += 1
                    look(at: value, as: field.shape, in: object, field.name)
                } else if !isPartial {
                    findings.append(Finding(object: object, field: field.name, fault: .missing))
                }
            }
            guard known < given.count else { return }
            for pair in values.pairs where !fields.contains(where: { $0.name == pair.key }) {
                findings.append(Finding(object: object, field: pair.key, fault: .unknown))
            }
        }
    }
}

/// One difference of an answer from its official shape.
struct Finding: Hashable, Sendable, CustomStringConvertible {
    enum Fault: Hashable, Sendable {
        case missing, unknown
        case type(String)
        case value(String)
    }

    let object: String
    let field: String
    let fault: Fault

    var description: String {
        switch fault {
        case .missing: "\(object).\(field) is missing"
        case .unknown: "\(object).\(field) is not in the specification"
        case .type(let kind): "\(object).\(field) is of type \(kind)"
        case .value(let text): "\(object).\(field) is \"\(text)\""
        }
    }
}
