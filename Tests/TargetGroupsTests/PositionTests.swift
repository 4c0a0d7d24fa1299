import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Positions of persons")
struct PositionTests {
    private func put(_ positions: String, in world: World) async throws {
        try await world.persons.put(JSONText(#"[{"source": "crm", "id": "1", "positions": \#(positions)}]"#))
    }

    private func positions(in world: World) async throws -> Set<String> {
        let person = try #require(try await world.persons.find(source: "crm", id: "1"))
        return Set(
            person.positions.map { position in
                let company = "\(position.company ?? "-") (\(position.companyName ?? "-"))"
                return "\(position.function ?? "-"), \(position.department ?? "-"), \(company)"
            })
    }

    private func waiting(in world: World) async throws -> Int64 {
        try await world.pool.query("select count(*) from koppeling.evaluation_request").scalar()
    }

    @Test("make what they name, once, whatever its capitals; a company is called by its id until it is put", .database)
    func makeValues() async throws {
        let world = World()
        try await put(
            """
            [{"function": "Manager", "department": " H  R ", "company": "C1"}, {"function": "manager", "company": "c1"},
             {"function": "MANAGER", "department": null, "company": "c1"}, {"department": "h r"}]
            """, in: world)
        #expect(
            try await Set(positions(in: world).map { $0.lowercased() })
                == ["manager, h r, c1 (c1)", "manager, -, c1 (c1)", "-, h r, - (-)"])
        let made = try await world.pool.query(
            """
            select (select count(*) from koppeling.job_function), (select count(*) from koppeling.department),
                (select count(*) from koppeling.company)
            """)[0]
        let counts = try (0..<3).map { try made.decode($0, as: Int64.self) }
        #expect(counts == [1, 1, 1])
    }

    @Test("replace the list when they are given, stay when they are not, go with null", .database)
    func replace() async throws {
        let world = World()
        try await put(#"[{"function": "Manager", "company": "C1"}, {"department": "HR"}]"#, in: world)
        try await world.persons.put(#"[{"source": "crm", "id": "1", "given_name": "An"}]"#)
        #expect(try await positions(in: world).count == 2)
        try await put(#"[{"department": "HR"}, {"function": "Assistent", "company": "C2"}]"#, in: world)
        #expect(try await positions(in: world) == ["-, HR, - (-)", "Assistent, -, C2 (C2)"])
        try await put("null", in: world)
        #expect(try await positions(in: world).isEmpty)
        try await put("[]", in: world)
        #expect(try await positions(in: world).isEmpty)
    }

    @Test("ask for an evaluation when they differ, and only then", .database)
    func evaluation() async throws {
        let world = World()
        try await put(#"[{"function": "Manager", "company": "C1"}, {"department": "HR"}]"#, in: world)
        try await world.evaluate()
        try await put(#"[{"department": "hr"}, {"function": "manager", "company": "c1"}]"#, in: world)
        #expect(try await waiting(in: world) == 0)
        let changes = [
            #"[{"function": "Manager", "company": "C1"}]"#, #"[{"function": "Manager"}]"#,
            #"[{"function": "Manager", "department": "HR"}]"#, "[]",
        ]
        for change in changes {
            try await put(change, in: world)
            #expect(try await waiting(in: world) == 1, "\(change)")
            try await world.evaluate()
        }
    }

    @Test("that are faulty are named", .database)
    func faults() async throws {
        let world = World()
        let faulty = [
            (#""Manager""#, #"field "positions" must be a list"#), (#"["Manager"]"#, "must hold objects only"),
            (#"[{"title": "Manager"}]"#, "must hold function, department and company only"),
            (#"[{"function": ["Manager"]}]"#, "must hold texts or nulls only"),
            (#"[{"function": " "}]"#, "must have a function, a department or a company in each"),
            (
                #"[{"department": "\#(String(repeating: "x", count: 201))"}]"#,
                #"field "positions.department" is longer than 200 characters"#
            ),
        ]
        for (positions, message) in faulty {
            let error = await #expect(throws: TargetGroupsError.self) { try await put(positions, in: world) }
            #expect(error?.code == .badInput && error?.message.contains(message) == true, "\(error?.message ?? "")")
        }
        #expect(try await world.persons.find(source: "crm", id: "1") == nil)
    }
}
