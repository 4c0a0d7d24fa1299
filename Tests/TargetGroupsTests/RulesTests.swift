import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Rules")
struct RulesTests {
    private static let cases: [(rules: [[Int]], matches: [String])] = [
        ([], []),
        ([[]], []),
        ([[1]], ["1", "12", "123"]),
        ([[1, 2]], ["12", "123"]),
        ([[1, -2]], ["1"]),
        ([[1, -2], [3]], ["1", "123", "3"]),
        ([[-1]], ["", "2", "3"]),
        ([[-1, -2]], ["", "3"]),
        ([[], [2]], ["12", "123", "2"]),
    ]

    @Test("match when all criteria of one of them hold; an empty one and none at all match nobody", .database)
    func matching() async throws {
        let world = World()
        // The persons are named after their categories.
        let persons = ["", "1", "2", "3", "12", "123"]
        for person in persons { try await world.put("p\(person)", categories: person.map { "Soort / \($0)" }) }
        for (number, (rules, matches)) in Self.cases.enumerated() {
            let criteria = rules.map { rule in rule.map { Criterion("Soort / \(abs($0))", negated: $0 < 0) } }
            let group = try await world.group("Groep \(number)", rules: criteria)
            #expect(try await active(world, group) == matches, "\(rules) for all at once")
            try await world.pool.script(
                """
                delete from koppeling.membership;
                select koppeling.request_evaluation(array(select id from koppeling.person), 'test');
                """)
            try await world.evaluate()
            #expect(try await active(world, group) == matches, "\(rules) person by person")
        }
    }

    @Test("are saved only over the version that was read", .database)
    func stale() async throws {
        let world = World()
        let group = try await world.group()
        let read = try await world.rules.list(group: group)
        let saved = try await world.rules.save(read.rules, group: group, over: read.version, actor: "een")
        #expect(saved.version == read.version + 1)
        let error = await #expect(throws: TargetGroupsError.self) {
            try await world.rules.save([], group: group, over: read.version, actor: "twee")
        }
        #expect(error?.code == .stale)
        #expect(try await world.rules.list(group: group).rules == read.rules)
    }

    @Test("that only exclude are confirmed first, knowing how many they match", .database)
    func onlyNegated() async throws {
        let world = World()
        let group = try await world.group()
        for id in 0..<3 { try await world.put("\(id)") }
        let rules = [[Criterion("Mailingen / Nieuwsbrief", negated: true)]]
        let error = await #expect(throws: TargetGroupsError.self) {
            try await world.rules.save(rules, group: group, over: 2, actor: "piet")
        }
        #expect(error?.code == .needsConfirmation)
        #expect(error?.message.contains("3 persons") == true)
        #expect(try await world.rules.list(group: group).version == 2)
        let saved = try await world.rules.save(rules, group: group, over: 2, confirmOnlyNegated: true, actor: "piet")
        #expect(saved.changed == 3)
    }

    @Test("that name an unknown category are refused by its name", .database)
    func unknownCategory() async throws {
        let world = World()
        let group = try await world.group()
        let error = await #expect(throws: TargetGroupsError.self) {
            try await world.rules.save([[Criterion("Mailingen / Ander")]], group: group, over: 2, actor: "piet")
        }
        #expect(error?.code == .notFound)
        #expect(error?.message.contains(#"there is no category "Mailingen / Ander""#) == true)
    }

    @Test("keep the category they name from being deleted", .database)
    func usedCategory() async throws {
        let world = World()
        _ = try await world.group("Nieuwsbrief")
        let error = await #expect(throws: PostgresError.self) {
            try await world.pool.query("delete from koppeling.category where name = 'Nieuwsbrief'")
        }
        #expect(error?.message == #"category "Nieuwsbrief" is used by "Nieuwsbrief" rule 1"#)
    }

    @Test("keep every kind of value they name from being deleted, and freeze their group when one is lost", .database)
    func everyKind() async throws {
        let world = World()
        try await world.pool.script(
            """
            insert into koppeling.job_function (name) values ('Directeur');
            insert into koppeling.department (name) values ('Inkoop');
            insert into koppeling.company (source, external_id, name) values ('crm', '7', 'Bakker [oud]');
            insert into koppeling.company_category (name) values ('Klant');
            """)
        let values: [(Criterion, table: String)] = [
            (Criterion("directeur", kind: .function), "job_function"),
            (Criterion("INKOOP", kind: .department, negated: true), "department"),
            (Criterion("CRM/7", kind: .company), "company"),
            (Criterion("Klant ", kind: .companyCategory), "company_category"),
        ]
        for (criterion, table) in values {
            let group = try await world.group("Groep \(table)", rules: [[criterion]])
            let read = try await world.rules.list(group: group)
            #expect(read.rules.first?.first?.kind == criterion.kind)
            // What is read can be saved again.
            _ = try await world.rules.save(
                read.rules, group: group, over: read.version, confirmOnlyNegated: true, actor: "test")
            let error = await #expect(throws: PostgresError.self) {
                try await world.pool.query("delete from koppeling.\(identifier: table)")
            }
            #expect(error?.message.hasSuffix("is used by \"Groep \(table)\" rule 1") == true)
            try await world.pool.script(
                "update koppeling.criterion set value_id = 999 where kind = '\(criterion.kind.rawValue)'")
            try await world.pool.query("select koppeling.refresh_memberships(\(group)::bigint, null, 'test', 'test')")
            #expect(try await world.groups.find("Groep \(table)")?.isValid == false)
        }
        #expect(try await world.rules.list(group: 3).rules == [[Criterion(nil, kind: .company)]])
    }

    @Test("are refused when they make no sense, in words", .database)
    func nonsense() async throws {
        let world = World()
        let group = try await world.group()
        try await world.pool.script(
            """
            insert into koppeling.company (source, external_id, name)
                values ('crm', '7', 'Bakker'), ('crm', '8', 'Bakker');
            """)
        let news = "Mailingen / Nieuwsbrief"
        for (rule, words) in [
            ([Criterion(news), Criterion(news, negated: true)], "and excludes it"),
            ([Criterion("bakker", kind: .company)], "several companies"),
            ([Criterion("Kok", kind: .function)], #"there is no function "Kok""#),
        ] {
            let error = await #expect(throws: TargetGroupsError.self) {
                try await world.rules.save([rule], group: group, over: 2, actor: "piet")
            }
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
        for json in [
            #"{}"#, #"[{}]"#, #"[["x"]]"#, #"[[{}]]"#, #"[[{"value": "a", "kind": "x"}]]"#, #"[[{"valeu": "a"}]]"#,
        ] {
            let error = await #expect(throws: PostgresError.self) {
                try await world.pool.query("select koppeling.read_rules(\(JSONText(json)))")
            }
            #expect(error?.sqlState == "22023", "\(json)")
        }
    }

    @Test("freeze the group when what they name is lost all the same; a no and a hand still work", .database)
    func lostValue() async throws {
        let world = World()
        let group = try await world.group()
        let member = try await world.put("1", email: "a@example.nl", categories: ["Mailingen / Nieuwsbrief"])
        let other = try await world.put("2", email: "b@example.nl", categories: ["Mailingen / Nieuwsbrief"])
        try await world.evaluate()
        try await world.pool.script("update koppeling.criterion set value_id = 999")
        for id in ["1", "2"] { try await world.put(id, categories: []) }
        try await world.put("3", categories: ["Mailingen / Nieuwsbrief"])
        try await world.evaluate()
        #expect(try await world.groups.find("Nieuwsbrief")?.isValid == false)
        #expect(try await world.membership(member, group) == .byRule)
        #expect(try await world.groups.find("Nieuwsbrief")?.active == 2, "nobody joined")
        try await world.found("unsubscribed", at: "a@example.nl", group: group)
        #expect(try await world.membership(member, group) == .inactive("unsubscribed"))
        try await world.memberships.setOverride(.exclude, person: other, group: group, actor: "piet")
        #expect(try await world.membership(other, group) == .inactive("manual"))
    }

    @Test("that are renamed values move nobody", .database)
    func renaming() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", categories: ["Mailingen / Nieuwsbrief"])
        try await world.evaluate()
        try await world.pool.script("update koppeling.category set name = 'Krant'")
        let changed = try await world.pool.query(
            "select koppeling.refresh_memberships(\(group)::bigint, null, 'test', 'test')")
        #expect(try changed.scalar(as: Int64.self) == 0)
        #expect(try await world.membership(person, group) == .byRule)
        #expect(try await world.rules.list(group: group).rules == [[Criterion("Mailingen / Krant")]])
    }

    private func active(_ world: World, _ group: Int64) async throws -> [String] {
        let rows = try await world.pool.query(
            """
            select substr(p.external_id, 2) as name from koppeling.membership m
            join koppeling.person p on p.id = m.person_id
            where m.target_group_id = \(group)::bigint and m.status = 'active' order by 1
            """)
        return try rows.map { row in try row.decode("name") }
    }
}
