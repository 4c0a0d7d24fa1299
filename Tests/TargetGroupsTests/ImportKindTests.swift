import FoundationEssentials
import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Importing files of companies, positions and categories")
struct ImportKindTests {
    private func positions(of id: String, in world: World) async throws -> Set<String> {
        let person = try #require(try await world.persons.find(source: "crm", id: id))
        return Set(person.positions.map { "\($0.function ?? "-")/\($0.department ?? "-")/\($0.company ?? "-")" })
    }

    private func waiting(in world: World) async throws -> [String] {
        try await world.pool.query("select koppeling.spread_value_changes()")
        return try await world.pool.query(
            """
            select p.external_id from koppeling.evaluation_request r join koppeling.person p on p.id = r.person_id
            order by 1
            """
        ).map { row in try row.decode(0) }
    }

    @Test(
        "companies, by English or Dutch columns", .database,
        arguments: [
            "source,id,name,categories\ncrm,C1,Acme,Zorg;Bouw\ncrm,C2,,\n",
            "\u{feff}Bron;Nummer;Naam;Categorieën\r\ncrm;c1;Acme;\"Zorg|Bouw\"\r\ncrm;C2;;\r\n",
        ])
    func companies(text: String) async throws {
        let world = World()
        try await world.persons.put(
            #"[{"source": "crm", "id": "1", "positions": [{"company": "C1"}]}, {"source": "crm", "id": "2"}]"#)
        try await world.evaluate()
        let file = try ImportFile(text)
        let report = try await file.run(.companies)
        #expect(report.isImported && report.created == 1 && report.changed == 1 && report.categoriesMade == 2)
        let company = try await Companies(pool: world.pool).find(source: "crm", id: "C1")
        #expect(company?.name == "Acme" && company?.categories == ["Bouw", "Zorg"] && company?.persons == 1)
        #expect(try await waiting(in: world) == ["1"])
        try await world.evaluate()
        let again = try await file.run(.companies)
        #expect(again.unchanged == 2 && again.changed == 0)
        #expect(try await waiting(in: world) == [])
    }

    @Test("positions: the lines of a person are the whole list, an empty one clears, others stay", .database)
    func positions() async throws {
        let world = World()
        for id in ["1", "2", "3"] {
            try await world.persons.put(
                JSONText(#"[{"source": "crm", "id": "\#(id)", "positions": [{"function": "Oud"}]}]"#))
        }
        try await world.evaluate()
        let file = try ImportFile(
            "bron,persoon,functie,afdeling,bedrijf\ncrm,1,Manager,,C1\ncrm,2,,,\ncrm,1,,HR,C2\ncrm,1,manager,,c1\n")
        let report = try await file.run(.positions)
        #expect(report.isImported && report.rows == 4 && report.changed == 2 && report.created == 0)
        #expect(try await Set(positions(of: "1", in: world).map { $0.lowercased() }) == ["manager/-/c1", "-/hr/c2"])
        #expect(try await positions(of: "2", in: world) == [])
        #expect(try await positions(of: "3", in: world) == ["Oud/-/-"])
        #expect(try await waiting(in: world) == ["1", "2"])
        let again = try await file.run(.positions)
        #expect(again.unchanged == 2 && again.changed == 0)
    }

    @Test("categories: one or several a line", .database)
    func categories() async throws {
        let world = World()
        try await world.put("1", categories: ["A / Weg"])
        let report = try await ImportFile("source;id;category\ncrm;1;A / B\ncrm;1;\"A / C|D / E\"\n").run(.categories)
        #expect(report.changed == 1 && report.categoriesMade == 3)
        #expect(try await world.persons.find(source: "crm", id: "1")?.categories == ["A / B", "A / C", "D / E"])
    }

    @Test("lists of somebody with a faulty line, or of nobody, are left out whole", .database)
    func faultyLists() async throws {
        let world = World()
        for id in ["1", "2"] { try await world.put(id, categories: ["A / Oud"]) }
        let text = "source,id,category\ncrm,1,A / B\ncrm,2,A / B\ncrm,1,Los\ncrm,9,A / B\n"
        let refused = try await ImportFile(text).run(.categories)
        #expect(!refused.isImported)
        let file = try ImportFile(text)
        let report = try await file.run(.categories, rejects: true)
        #expect(report.isImported && report.rejected == 3 && report.changed == 1)
        #expect(
            report.faults.map(\.description) == [
                "line 2: belongs to the same person as line 4, which has faults",
                #"line 4, category: "Los" must be written as "Group / Name""#,
                "line 5, id: names nobody; put the person first",
            ])
        #expect(try await world.persons.find(source: "crm", id: "1")?.categories == ["A / Oud"])
        #expect(try await world.persons.find(source: "crm", id: "2")?.categories == ["A / B"])
        let rejects = try file.rejects()
        #expect(rejects.split(separator: "\n").count == 4)

        let broken = try ImportFile(text + "crm,2\n")
        let error = await #expect(throws: TargetGroupsError.self) { try await broken.run(.categories, rejects: true) }
        #expect(error?.message.hasPrefix("line 6: has 2 cells, and the header has 3. Mend the line") == true)
    }

    @Test("persons may bring the one position they have", .database)
    func personsWithPosition() async throws {
        let world = World()
        let report = try await ImportFile(
            "bron;nummer;functie;bedrijf\ncrm;1;Manager;C1\ncrm;2;;\ncrm;3;\(String(repeating: "x", count: 201));\n"
        ).run(rejects: true)
        #expect(report.created == 2)
        #expect(report.faults.map(\.description) == ["line 4, functie: is longer than 200 characters"])
        #expect(try await positions(of: "1", in: world) == ["Manager/-/C1"])
        #expect(try await positions(of: "2", in: world) == [])
    }

    @Test("that holds both records of somebody who was merged names them", .database)
    func merged() async throws {
        let world = World()
        for id in ["1", "2", "3"] { try await world.put(id) }
        try await world.persons.merge(
            Identity(source: "crm", id: "2"), into: Identity(source: "crm", id: "1"), actor: "test")
        let report = try await ImportFile("source,id,voornaam\ncrm,2,An\ncrm,3,Bo\ncrm,1,Cor\n").run()
        #expect(report.faults.map(\.description) == ["line 4, id: was merged with line 2; keep one of the two"])
        let lists = try await ImportFile("source,id,category\ncrm,2,A / B\ncrm,1,A / C\n").run(.categories)
        #expect(lists.isImported && lists.changed == 1)
        #expect(try await world.persons.find(source: "crm", id: "1")?.categories == ["A / B", "A / C"])
        let alone = try await ImportFile("source,id,voornaam\ncrm,2,An\ncrm,3,Bo\n").run()
        #expect(alone.isImported && alone.changed == 2)
        #expect(try await world.persons.find(source: "crm", id: "1")?.givenName == "An")
    }

    @Test("is read in Windows-1252 when it makes no sense as UTF-8, and rejected rows are written in UTF-8", .database)
    func windows1252() async throws {
        let world = World()
        var bytes: [UInt8] = Array("bron;nummer;achternaam;categorie".utf8) + [0xEB] + Array("n\r\ncrm;1;".utf8)
        bytes +=
            [0x80, 0x20, 0x8A, 0x20, 0xC5, 0x6C] + Array(";A / B\r\ncrm;2;H".utf8) + [0xE9] + Array(";Los\r\n".utf8)
        let file = try ImportFile(bytes)
        let report = try await file.run(rejects: true)
        #expect(report.created == 1)
        let person = try await world.persons.find(source: "crm", id: "1")
        #expect(person?.familyName == "€ Š Ål" && person?.categories == ["A / B"])
        let rejects = try file.rejects()
        #expect(rejects.hasPrefix("bron;nummer;achternaam;categorieën;reason\ncrm;2;Hé;Los;"))
    }

    @Test("is read in UTF-8 whatever the pieces it comes in", .database)
    func pieces() async throws {
        let world = World()
        for shift in 0..<4 {
            let filler = String(repeating: "é€🙂", count: 40_000)
            let report = try await ImportFile(
                "source,id,achternaam\ncrm,x\(String(repeating: "y", count: shift)),Zoë\ncrm,z,\(filler)\n"
            ).run(rejects: true)
            #expect(report.created == 1 && report.faults.count == 1)
        }
        let names = try await world.pool.query("select distinct family_name from koppeling.person")
        #expect(try names.scalar(as: String.self) == "Zoë")
    }
}
