import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Merging companies, renaming values")
struct MergeCompaniesTests {
    private static let one = Identity(source: "crm", id: "C1")
    private static let two = Identity(source: "crm", id: "C2")

    /// A group with a rule that asks for these companies, those with a "-" before them negated.
    private func group(_ name: String, companies: [String], in world: World) async throws -> Int64 {
        let group = try await world.groups.create(name)
        let rule = try await world.pool.query(
            "insert into koppeling.rule (target_group_id, position) values (\(group.id)::bigint, 1) returning id"
        ).scalar(as: Int64.self)
        for company in companies {
            try await world.pool.query(
                """
                insert into koppeling.criterion (rule_id, kind, value_id, negated)
                select \(rule)::bigint, 'company', koppeling.find_company('crm', ltrim(\(company)::text, '-')),
                    starts_with(\(company)::text, '-')
                """)
        }
        return group.id
    }

    private func criteria(of group: Int64, in world: World) async throws -> [String] {
        try await world.pool.query(
            """
            select case when c.negated then '-' else '' end || k.external_id
            from koppeling.rule r
            join koppeling.criterion c on c.rule_id = r.id
            join koppeling.company k on k.id = c.value_id
            where r.target_group_id = \(group)::bigint order by 1
            """
        ).map { row in try row.decode(0) }
    }

    @Test(
        "moves positions, categories and rules; has everybody there evaluated; the old id means the survivor", .database
    )
    func companies() async throws {
        let world = World()
        let companies = Companies(pool: world.pool)
        try await companies.put(
            """
            [{"source": "crm", "id": "C1", "name": "Een", "categories": ["Zorg"]},
             {"source": "crm", "id": "C2", "name": "Twee", "categories": ["Bouw"]}]
            """)
        try await world.persons.put(
            """
            [{"source": "crm", "id": "1", "positions": [{"company": "C1"}, {"company": "C2"}]},
             {"source": "crm", "id": "2", "positions": [{"company": "C2", "function": "Manager"}]},
             {"source": "crm", "id": "3", "positions": [{"company": "C3"}]}]
            """)
        let only = try await group("Alleen", companies: ["C2"], in: world)
        let both = try await group("Beide", companies: ["C1", "C2"], in: world)
        try await world.evaluate()
        try await companies.merge(Self.two, into: Self.one, actor: "test")
        try await companies.merge(Self.two, into: Self.one, actor: "test")
        try await world.pool.query("select koppeling.spread_value_changes()")
        let waiting = try await world.pool.query("select count(*) from koppeling.evaluation_request")
        #expect(try waiting.scalar(as: Int64.self) == 2)
        let company = try #require(try await companies.find(source: "crm", id: "C2"))
        #expect(company.externalID == "C1" && company.name == "Een" && company.persons == 2)
        #expect(company.categories == ["Bouw", "Zorg"])
        #expect(try await criteria(of: only, in: world) == ["C1"])
        #expect(try await criteria(of: both, in: world) == ["C1"])
        #expect(try await world.persons.find(source: "crm", id: "1")?.positions.map(\.company) == ["C1"])

        try await world.persons.put(#"[{"source": "crm", "id": "3", "positions": [{"company": "c2"}]}]"#)
        #expect(try await world.persons.find(source: "crm", id: "3")?.positions.map(\.companyName) == ["Een"])
        try await companies.put(#"[{"source": "crm", "id": "C2", "name": "Samen"}]"#)
        #expect(try await companies.find(source: "crm", id: "C1")?.name == "Samen")
    }

    @Test("is refused where a rule asks for one and excludes the other", .database)
    func contradiction() async throws {
        let world = World()
        let companies = Companies(pool: world.pool)
        try await companies.put(#"[{"source": "crm", "id": "C1"}, {"source": "crm", "id": "C2"}]"#)
        let group = try await group("Gemengd", companies: ["C1", "-C2"], in: world)
        let error = await #expect(throws: TargetGroupsError.self) {
            try await companies.merge(Self.two, into: Self.one, actor: "test")
        }
        #expect(error?.code == .refused && error?.message.contains(#""Gemengd" rule 1"#) == true)
        #expect(try await criteria(of: group, in: world) == ["-C2", "C1"])
    }

    @Test("renames values without moving anybody, and never onto another one", .database)
    func rename() async throws {
        let world = World()
        let values = Values(pool: world.pool)
        let group = try await world.group()
        let person = JSONText(
            """
            {"source": "crm", "id": "1", "categories": ["Mailingen / Nieuwsbrief", "A / B"],
             "positions": [{"function": "Manager", "department": "HR"}, {"function": "Assistent"}]}
            """)
        let number: Int64 = try await world.pool.query("select koppeling.put_person(\(person)::jsonb)").scalar()
        try await Companies(pool: world.pool).put(#"[{"source": "crm", "id": "C1", "categories": ["Zorg"]}]"#)
        try await world.evaluate()
        try await values.rename(.personCategory, "mailingen/nieuwsbrief", to: "Post / Maandblad")
        try await values.rename(.companyCategory, "zorg", to: "Gezondheid")
        let waiting = try await world.pool.query("select count(*) from koppeling.value_change").scalar(as: Int64.self)
        #expect(waiting == 0)
        try await values.rename(.function, "manager", to: "MANAGER")
        try await values.rename(.department, "HR", to: "Personeel")
        let found = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(found.categories == ["A / B", "Post / Maandblad"])
        #expect(Set(found.positions.map(\.function)) == ["MANAGER", "Assistent"])
        #expect(try await world.membership(number, group) == .byRule)
        try await world.evaluate()
        #expect(try await world.membership(number, group) == .byRule)

        let refused: [(kind: ValueKind, old: String, new: String, code: TargetGroupsError.Code)] = [
            (.function, "Assistent", "manager", .refused), (.personCategory, "A / B", "post/maandblad", .refused),
            (.personCategory, "A / B", "Los", .badInput), (.department, "Inkoop", "Verkoop", .notFound),
            (.companyCategory, "Gezondheid", " ", .badInput),
        ]
        for (kind, old, new, code) in refused {
            let error = await #expect(throws: TargetGroupsError.self) { try await values.rename(kind, old, to: new) }
            #expect(error?.code == code, "\(old): \(error?.message ?? "")")
        }
    }
}
