/// Which column of a file of persons means what.
struct ImportColumns: Sendable {
    /// What a column can mean.
    enum Meaning: Sendable, Hashable {
        case field(String)
        case email(kind: String)
        case categories
    }

    /// The meaning of each column, in the order of the file.
    let meanings: [Meaning]
    private let headers: [String]

    /// Reads the header; a column that is not known is refused with the names of those that are.
    init(header: CSVRecord, hasSource: Bool) throws(TargetGroupsError) {
        if let fault = header.fault { throw TargetGroupsError(.badInput, "line \(header.line): the header \(fault)") }
        var meanings: [Meaning] = []
        var headers: [String] = []
        for cell in 0..<header.count {
            let name = header.text(cell).filter { !$0.isNewline }
            guard let meaning = Self.meaning(of: name) else { throw Self.unknown(name, line: header.line) }
            guard !meanings.contains(meaning) else {
                throw TargetGroupsError(
                    .badInput,
                    "line \(header.line): column \"\(name)\" says the same as \"\(headers[meanings.firstIndex(of: meaning) ?? 0])\"; remove one"
                )
            }
            meanings.append(meaning)
            headers.append(name)
        }
        for (field, name) in [("id", "id"), ("source", "source")] where !meanings.contains(.field(field)) {
            if field == "source" && hasSource { continue }
            let hint = field == "source" ? ", or name the source of all rows when importing" : ""
            throw TargetGroupsError(.badInput, "line \(header.line): column \"\(name)\" is missing; add it\(hint)")
        }
        self.meanings = meanings
        self.headers = headers
    }

    /// The kinds of e-mail address, in the order of the file.
    var emailKinds: [String] {
        meanings.compactMap { meaning in if case .email(let kind) = meaning { kind } else { nil } }
    }

    /// The fields that the file has, apart from identity and addresses, as put_person_rows names them.
    var fields: [String] {
        meanings.compactMap { meaning in
            switch meaning {
            case .field("source"), .field("id"), .email: nil
            case .field(let name): name
            case .categories: "categories"
            }
        }
    }

    /// The file's own name for a field that a fault is about.
    func header(of field: String) -> String {
        let index = meanings.firstIndex { meaning in
            switch meaning {
            case .field(let name): name == field
            case .email(let kind): "emails.\(kind)" == field
            case .categories: field == "categories"
            }
        }
        return index.map { headers[$0] } ?? field
    }

    private static let fields: [(name: String, aliases: [String])] = [
        ("source", ["bron"]),
        ("id", ["nummer", "external id", "extern id"]),
        ("given_name", ["voornaam"]),
        ("initials", ["voorletters"]),
        ("prefixes", ["tussenvoegsels", "tussenvoegsel"]),
        ("family_name", ["achternaam"]),
        ("gender", ["geslacht"]),
    ]

    private static let emailPrefixes = ["e mailadres ", "emailadres ", "e mail ", "email "]

    private static func meaning(of header: String) -> Meaning? {
        let words = header.lowercased()
            .split { $0.isWhitespace || $0 == "_" || $0 == "-" }.joined(separator: " ")
        if let field = fields.first(where: { words == $0.name.replacing("_", with: " ") || $0.aliases.contains(words) })
        {
            return .field(field.name)
        }
        if ["categories", "categorieën", "categorieen"].contains(words) { return .categories }
        for prefix in emailPrefixes where words.hasPrefix(prefix) {
            return .email(kind: String(words.dropFirst(prefix.count)))
        }
        return nil
    }

    private static func unknown(_ name: String, line: Int) -> TargetGroupsError {
        let known = fields.map(\.name) + ["email_<kind>, such as email_zakelijk", "categories"]
        let dutch = fields.compactMap(\.aliases.first) + ["e-mailadres <soort>", "categorieën"]
        return TargetGroupsError(
            .badInput,
            "line \(line): column \"\(name)\" is not known; the columns are \(known.joined(separator: ", ")) (or \(dutch.joined(separator: ", ")))"
        )
    }
}
