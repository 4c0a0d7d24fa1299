import Postgres
import TargetGroups
import TestSupport

/// Persons and rules out of chance, and who matches: written a second time, person by person, in the simplest words.
struct RuleOracle {
    struct Position: Hashable {
        var function: Int?
        var department: Int?
        var company: Int?
    }

    struct Term: Hashable {
        var kind: Criterion.Kind
        var value: Int
        var negated: Bool
    }

    /// How many values there are of each kind; few, so that rules match.
    static let values = 4

    var categories: [Int: Set<Int>] = [:]
    var positions: [Int: Set<Position>] = [:]
    var companyCategories: [Int: Set<Int>] = [:]

    /// A world of so many persons.
    init(persons: Int, seed: inout Seed) {
        for company in 1...Self.values { companyCategories[company] = Self.some(&seed) }
        for person in 1...persons { change(person, seed: &seed) }
    }

    /// Gives a person other facts.
    mutating func change(_ person: Int, seed: inout Seed) {
        categories[person] = Self.some(&seed)
        positions[person] = []
        for _ in 0..<Int.random(in: 0...3, using: &seed) {
            let position = Position(
                function: Self.perhaps(&seed), department: Self.perhaps(&seed), company: Self.perhaps(&seed))
            if position != Position() { positions[person]?.insert(position) }
        }
    }

    /// Whether a person matches any of these rules.
    func matches(_ person: Int, _ rules: [[Term]]) -> Bool {
        rules.contains { rule in
            guard !rule.isEmpty else { return false }
            let held = Array(positions[person] ?? [])
            for term in rule where term.negated {
                if term.kind == .personCategory {
                    if categories[person, default: []].contains(term.value) { return false }
                } else if held.contains(where: { has($0, term) }) {
                    return false
                }
            }
            let asked = rule.filter { !$0.negated }
            for term in asked where term.kind == .personCategory {
                if !categories[person, default: []].contains(term.value) { return false }
            }
            let placed = asked.filter { $0.kind != .personCategory }
            return placed.isEmpty || held.contains { position in placed.allSatisfy { has(position, $0) } }
        }
    }

    private func has(_ position: Position, _ term: Term) -> Bool {
        switch term.kind {
        case .function: position.function == term.value
        case .department: position.department == term.value
        case .company: position.company == term.value
        case .companyCategory: position.company.map { companyCategories[$0, default: []].contains(term.value) } ?? false
        case .personCategory: false
        }
    }

    /// Rules out of chance: none, empty ones, and such as only exclude are among them.
    static func rules(_ seed: inout Seed) -> [[Term]] {
        (0..<Int.random(in: 0...3, using: &seed)).map { _ in
            var rule: [Term] = []
            for _ in 0..<([0, 1, 1, 2, 2, 3, 4].randomElement(using: &seed) ?? 1) {
                let term = Term(
                    kind: Criterion.Kind.allCases.randomElement(using: &seed) ?? .function,
                    value: Int.random(in: 1...values, using: &seed), negated: Int.random(in: 0..<3, using: &seed) == 0)
                if !rule.contains(where: { $0.kind == term.kind && $0.value == term.value }) { rule.append(term) }
            }
            return rule
        }
    }

    private static func some(_ seed: inout Seed) -> Set<Int> {
        Set((1...values).filter { _ in Int.random(in: 0..<3, using: &seed) == 0 })
    }

    private static func perhaps(_ seed: inout Seed) -> Int? {
        Bool.random(using: &seed) ? Int.random(in: 1...values, using: &seed) : nil
    }

    // MARK: - The same in the database, where the number of a value and of a person is what it is here

    static func makeValues(in pool: Pool) async throws {
        try await pool.script(
            """
            insert into koppeling.category_group (name) values ('Soort');
            insert into koppeling.category (category_group_id, name)
                select 1, n::text from generate_series(1, \(values)) n;
            insert into koppeling.job_function (name) select n::text from generate_series(1, \(values)) n;
            insert into koppeling.department (name) select n::text from generate_series(1, \(values)) n;
            insert into koppeling.company (source, external_id, name)
                select 'crm', n::text, n::text from generate_series(1, \(values)) n;
            insert into koppeling.company_category (name) select n::text from generate_series(1, \(values)) n;
            """)
    }

    /// Writes the facts of these persons, and of the companies.
    func store(_ persons: some Sequence<Int>, in pool: Pool) async throws {
        var script = "delete from koppeling.company_in_category;"
        func insert(_ row: String, into table: String) { script += "insert into koppeling.\(table) values (\(row));\n" }
        for (company, categories) in companyCategories {
            for category in categories { insert("\(company), \(category)", into: "company_in_category") }
        }
        for person in persons {
            script += """
                insert into koppeling.person (id, source, external_id) overriding system value
                    values (\(person), 'crm', '\(person)') on conflict do nothing;
                delete from koppeling.person_category where person_id = \(person);
                delete from koppeling.position where person_id = \(person);

                """
            for category in categories[person, default: []] {
                insert("\(person), \(category)", into: "person_category")
            }
            for position in positions[person, default: []] {
                let cells = [position.function, position.department, position.company].map {
                    $0.map(String.init) ?? "null"
                }
                insert(
                    "\(person), \(cells.joined(separator: ", "))",
                    into: "position (person_id, job_function_id, department_id, company_id)")
            }
        }
        try await pool.script(script)
    }

    static func criteria(_ rules: [[Term]]) -> [[Criterion]] {
        rules.map { rule in
            rule.map { term in
                let name =
                    switch term.kind {
                    case .personCategory: "Soort / \(term.value)"
                    case .company: "crm/\(term.value)"
                    default: "\(term.value)"
                    }
                return Criterion(name, kind: term.kind, negated: term.negated)
            }
        }
    }
}
