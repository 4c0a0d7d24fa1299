/// Which column of a file means what.
struct ImportColumns: Sendable {
    /// What a column can mean.
    enum Meaning: Sendable, Hashable {
        case field(String)
        case email(kind: String)
    }

    /// The meaning of each column, in the order of the file.
    let meanings: [Meaning]
    /// How many cells without a name and content may stand after the others: Excel leaves separators there.
    let unnamed: Int
    private let headers: [String]

    /// Reads the header; a column that is not known is refused with the names of those that are.
    init(header: CSVRecord, kind: ImportKind, hasSource: Bool) throws(TargetGroupsError) {
        if let fault = header.fault { throw TargetGroupsError(.badInput, "line \(header.line): the header \(fault)") }
        var meanings: [Meaning] = []
        var headers: [String] = []
        let named = ((0..<header.count).last { !header.isBlank($0) } ?? -1) + 1
        for cell in 0..<named {
            let name = header.text(cell).filter { !$0.isNewline }
            guard let meaning = Self.meaning(of: name, in: kind) else {
                throw Self.unknown(name, line: header.line, kind: kind)
            }
            guard !meanings.contains(meaning) else {
                throw TargetGroupsError(
                    .badInput,
                    "line \(header.line): column \"\(name)\" says the same as \"\(headers[meanings.firstIndex(of: meaning) ?? 0])\"; remove one"
                )
            }
            meanings.append(meaning)
            headers.append(name)
        }
        for name in ["id", "source"] where !meanings.contains(.field(name)) {
            if name == "source" && hasSource { continue }
            let hint = name == "source" ? ", or name the source of all rows (--source)" : ""
            throw TargetGroupsError(.badInput, "line \(header.line): column \"\(name)\" is missing; add it\(hint)")
        }
        self.meanings = meanings
        unnamed = header.count - named
        self.headers = headers
    }

    /// The kinds of e-mail address, in the order of the file.
    var emailKinds: [String] {
        meanings.compactMap { meaning in if case .email(let kind) = meaning { kind } else { nil } }
    }

    /// The fields that the file has and that are stored, apart from identity and addresses, as puts name them.
    var fields: [String] {
        var fields: [String] = []
        for case .field(let name) in meanings where !["source", "id", "anonymised"].contains(name) {
            let field = Self.position.contains(name) ? "positions" : name
            if !fields.contains(field) { fields.append(field) }
        }
        return fields
    }

    /// The file's own name for a field that a fault is about.
    func header(of field: String) -> String {
        let index = meanings.firstIndex { meaning in
            switch meaning {
            case .field(let name): name == field || "positions.\(name)" == field
            case .email(let kind): "emails.\(kind)" == field
            }
        }
        return index.map { headers[$0] } ?? field
    }

    private static let position = ["function", "department", "company"]
    private static let emailPrefixes = ["e mailadres ", "emailadres ", "e mail ", "email "]

    private static func meaning(of header: String, in kind: ImportKind) -> Meaning? {
        let words = header.lowercased()
            .split { $0.isWhitespace || $0 == "_" || $0 == "-" }.joined(separator: " ")
        if let column = kind.columns.first(where: {
            words == $0.name.replacing("_", with: " ") || $0.aliases.contains(words)
        }) {
            return .field(column.name)
        }
        guard kind.hasAddresses else { return nil }
        for prefix in emailPrefixes where words.hasPrefix(prefix) {
            return .email(kind: String(words.dropFirst(prefix.count)))
        }
        return nil
    }

    private static func unknown(_ name: String, line: Int, kind: ImportKind) -> TargetGroupsError {
        let known = kind.columns.map(\.name) + (kind.hasAddresses ? ["email_<kind>, such as email_zakelijk"] : [])
        let dutch = kind.columns.compactMap(\.aliases.first) + (kind.hasAddresses ? ["e-mailadres <soort>"] : [])
        return TargetGroupsError(
            .badInput,
            "line \(line): column \"\(name)\" is not known; the columns are \(known.joined(separator: ", ")) (or \(dutch.joined(separator: ", ")))"
        )
    }
}
