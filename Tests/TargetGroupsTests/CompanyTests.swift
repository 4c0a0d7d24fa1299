import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Companies")
struct CompanyTests {
    private func requested(in world: World) async throws -> [Int64] {
        try await world.pool.query("select koppeling.spread_value_changes()")
        return try await world.pool.query("select person_id from koppeling.evaluation_request order by 1")
            .map { row in try row.decode(0) }
    }

    /// A person who has one position: at this company.
    private func employ(_ id: String, at company: String, in world: World) async throws -> Int64 {
        let person = JSONText(#"{"source": "crm", "id": "\#(id)", "positions": [{"company": "\#(company)"}]}"#)
        return try await world.pool.query("select koppeling.put_person(\(person)::jsonb)").scalar()
    }

    @Test("keep what is absent, clear what is null, replace the list of categories", .database)
    func fields() async throws {
        let companies = Companies(pool: TestDatabase.current.pool)
        try await companies.put(
            #"[{"source": "crm", "id": "C1", "name": " Acme  BV", "categories": ["Zorg", "zorg", "Bouw"]}]"#)
        try await companies.put(#"[{"source": "CRM", "id": "c1"}]"#)
        var company = try #require(try await companies.find(source: "crm", id: "C1"))
        #expect(company.name == "Acme BV" && company.categories.count == 2)
        try await companies.put(#"[{"source": "crm", "id": "C1", "name": null, "categories": ["Bouw"]}]"#)
        company = try #require(try await companies.find(source: "crm", id: "C1"))
        #expect(company.name == "C1" && company.categories == ["Bouw"])
        try await companies.put(
            #"[{"source": "crm", "id": "C1", "name": "Een"}, {"source": "crm", "id": "c1", "name": "Twee"}]"#)
        #expect(try await companies.find(source: "crm", id: "C1")?.name == "Twee")
    }

    @Test("that are faulty are named by place and field, and change nothing", .database)
    func faults() async throws {
        let companies = Companies(pool: TestDatabase.current.pool)
        let faulty = [
            (#"{"source": "crm"}"#, #"field "id" is missing"#), (#"{"id": "2"}"#, #"field "source" is missing"#),
            (#"{"source": "crm", "id": "2", "town": "Ede"}"#, #"field "town" is not known; a company has"#),
            (#"{"source": "crm", "id": "2", "categories": [""]}"#, #"field "categories" must not hold an empty name"#),
            (#"{"source": "crm", "id": "2", "categories": "Zorg"}"#, #"field "categories" must be a list"#),
            ("3", "must be an object"),
        ]
        for (company, message) in faulty {
            let error = await #expect(throws: TargetGroupsError.self) {
                try await companies.put(JSONText(#"[{"source": "crm", "id": "1"}, \#(company)]"#))
            }
            #expect(error?.code == .badInput)
            #expect(error?.message.hasPrefix("company 2: \(message)") == true, "\(error?.message ?? "")")
        }
        #expect(try await companies.find(source: "crm", id: "1") == nil)
    }

    @Test("that change have everybody evaluated who has a position there, and nobody else", .database)
    func reach() async throws {
        let world = World()
        let companies = Companies(pool: world.pool)
        let first = try await employ("1", at: "C1", in: world)
        let second = try await employ("2", at: "c1", in: world)
        _ = try await employ("3", at: "C2", in: world)
        try await world.evaluate()
        for change in [#""name": "Acme""#, #""categories": ["Zorg", "Bouw"]"#, #""categories": ["Zorg"]"#] {
            let put = JSONText(#"[{"source": "crm", "id": "C1", \#(change)}, {"source": "crm", "id": "C2"}]"#)
            try await companies.put(put)
            #expect(try await requested(in: world) == [first, second], "\(change)")
            try await world.evaluate()
            try await companies.put(put)
            #expect(try await requested(in: world) == [], "\(change) once more")
        }
    }

    @Test("that change reach a position that is given meanwhile", .database)
    func meanwhile() async throws {
        let world = World()
        let companies = Companies(pool: world.pool)
        try await companies.put(#"[{"source": "crm", "id": "C1"}]"#)
        let person = try await world.put("1")
        try await world.evaluate()
        let connection = try await Connection.connect(TestDatabase.current.settings)
        try await connection.script("begin")
        try await connection.query(
            """
            insert into koppeling.position (person_id, company_id)
            select \(person)::bigint, id from koppeling.company
            """)
        try await companies.put(#"[{"source": "crm", "id": "C1", "categories": ["Zorg"]}]"#)
        try await connection.script("commit")
        #expect(try await requested(in: world) == [person])
    }
}
