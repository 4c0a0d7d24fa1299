import FoundationEssentials
import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Importing persons from a file")
struct ImportTests {
    @Test(
        "takes the columns by their English or Dutch names, in any order", .database,
        arguments: [
            "source,id,given_name,initials,prefixes,family_name,gender,email_zakelijk,categories",
            "Bron,Nummer,Voornaam,Voorletters,Tussenvoegsels,Achternaam,Geslacht,E-mailadres zakelijk,Categorieën",
        ])
    func columns(header: String) async throws {
        let world = World()
        let file = try ImportFile("\(header)\ncrm,1,Jan,J.,van der,Berg,m,Jan@X.nl,A / B; A / C|D / E\n")
        let report = try await file.run()
        #expect(report.isImported && report.rows == 1 && report.created == 1 && report.categoriesMade == 3)
        let person = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(person.givenName == "Jan" && person.initials == "J." && person.prefixes == "van der")
        #expect(person.familyName == "Berg" && person.gender == "male")
        #expect(person.emails == ["zakelijk": "Jan@X.nl"] && person.categories == ["A / B", "A / C", "D / E"])
    }

    @Test(
        "reads commas, semicolons and tabs, quotes, doubled quotes, line ends in cells, every kind of line end",
        .database,
        arguments: [
            "source,id,family_name\ncrm,1,\"Berg, \"\"de\"\"\nGrote\"\n",
            "\u{feff}source;id;family_name\r\ncrm;1;\"Berg, \"\"de\"\"\nGrote\"\r\n\r\n;;\r\n",
            "\"source\"\t\"id\"\t\"family_name\"\rcrm\t1\t\"Berg, \"\"de\"\"\rGrote\"",
        ])
    func dialects(text: String) async throws {
        let report = try await ImportFile(text).run()
        #expect(report.rows == 1 && report.isImported)
        #expect(try await World().persons.find(source: "crm", id: "1")?.familyName == #"Berg, "de" Grote"#)
    }

    @Test("clears with an empty cell, leaves columns and persons that are not in the file", .database)
    func emptyCells() async throws {
        let world = World()
        try await world.put("1", email: "jan@x.nl", categories: ["A / B"], name: "Berg")
        try await world.put("2", email: "piet@x.nl", categories: ["A / B"], name: "Dal")
        let report = try await ImportFile("source,id,email_zakelijk,categories\ncrm,1,,\n").run()
        #expect(report.created == 0 && report.changed == 1)
        let one = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(one.emails.isEmpty && one.categories.isEmpty && one.familyName == "Berg")
        #expect(try await world.persons.find(source: "crm", id: "2")?.emails == ["zakelijk": "piet@x.nl"])
    }

    private let faulty = """
        source,id,gender,email_zakelijk,categories
        crm,1,m,jan@x.nl,A / B
        crm,2,blauw,piet,A / B
        crm,3,v
        crm,1,v,an@x.nl,
        crm,"4"x,v,an@x.nl,
        ,5,v,"not
        good",Los
        crm,6,v,eva@x.nl,A / B
        """

    @Test("reports every bad row by line and field, and imports nothing", .database)
    func allOrNothing() async throws {
        let report = try await ImportFile(faulty).run()
        #expect(!report.isImported && report.rows == 7 && report.rejected == 5)
        #expect(
            report.faults.map(\.description) == [
                "line 3, email_zakelijk: must hold exactly one @",
                "line 3, gender: must be male, female, other or unknown (man, vrouw, anders, onbekend)",
                "line 4: has 3 cells, and the header has 5",
                "line 5, id: is the same person as line 2",
                "line 6: has text behind a closing quote",
                #"line 7, categories: "Los" must be written as "Group / Name""#,
                "line 7, email_zakelijk: must hold exactly one @",
                "line 7, source: is missing",
            ])
        let left = try await TestDatabase.current.pool.query(
            "select (select count(*) from koppeling.person) + (select count(*) from koppeling.category)")
        #expect(try left.scalar(as: Int64.self) == 0)
    }

    @Test("skips bad rows when asked to, and writes them down with the reason", .database)
    func skipBad() async throws {
        let world = World()
        let file = try ImportFile(faulty)
        let report = try await file.run(rejects: true)
        #expect(report.isImported && report.created == 2 && report.rejected == 5)
        #expect(try await world.persons.find(source: "crm", id: "6") != nil)
        #expect(try await world.persons.find(source: "crm", id: "2") == nil)
        #expect(
            try file.rejects() == """
                source,id,gender,email_zakelijk,categories,reason
                crm,2,blauw,piet,A / B,"email_zakelijk: must hold exactly one @; gender: must be male, female, other or unknown (man, vrouw, anders, onbekend)"
                crm,3,v,"has 3 cells, and the header has 5"
                crm,1,v,an@x.nl,,"id: is the same person as line 2"
                crm,"4"x,v,an@x.nl,,"has text behind a closing quote"
                ,5,v,"not
                good",Los,"categories: ""Los"" must be written as ""Group / Name""; email_zakelijk: must hold exactly one @; source: is missing"

                """)
    }

    @Test("that is only tried changes nothing and says what it would do", .database)
    func dryRun() async throws {
        let world = World()
        try await world.put("1", name: "Berg")
        let file = try ImportFile("source,id,family_name\ncrm,1,Dal\ncrm,2,Bos\n")
        let report = try await FileImport(path: file.path, isDryRun: true).run(in: world.pool)
        #expect(!report.isImported && report.created == 1 && report.changed == 1)
        #expect(try await world.persons.find(source: "crm", id: "1")?.familyName == "Berg")
    }

    @Test(
        "refuses a file that is no list of persons in one clear line", .database,
        arguments: [
            ("", "is empty; its first line names the columns"),
            (
                "source,id,schoenmaat\n",
                #"line 1: column "schoenmaat" is not known; the columns are source, id, given_name"#
            ),
            ("source,id,voornaam,given_name\n", #"line 1: column "given_name" says the same as "voornaam""#),
            ("source,given_name\n", #"line 1: column "id" is missing"#),
            ("id,given_name\n", #"line 1: column "source" is missing; add it, or name the source"#),
            ("source,id\ncrm,\"1\ncrm,2\n", "line 2: a quote is opened and not closed"),
        ])
    func unusable(text: String, message: String) async throws {
        let error = await #expect(throws: TargetGroupsError.self) { try await ImportFile(text).run() }
        #expect(error?.code == .badInput && error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test("says which file cannot be read", .database)
    func missing() async throws {
        let error = await #expect(throws: TargetGroupsError.self) {
            try await FileImport(path: "/nowhere/persons.csv").run(in: TestDatabase.current.pool)
        }
        #expect(error?.code == .file)
        #expect(error?.message == "cannot open /nowhere/persons.csv: No such file or directory")
    }

    @Test(
        "passes over a last column that Excel left, without a name or content; what is written there is a fault",
        .database)
    func trailingSeparator() async throws {
        let file = try ImportFile("source;id;achternaam;;\ncrm;1;Berg;;\ncrm;2;Dal\ncrm;3;Smit; ;x\n")
        let report = try await file.run(rejects: true)
        #expect(report.created == 2)
        #expect(report.faults.map(\.description) == ["line 4: has 5 cells, and the header has 3"])
    }

    @Test("says of a file in UTF-16 how to save it", .database, arguments: [[0xFF, 0xFE], [0xFE, 0xFF]] as [[UInt8]])
    func utf16(mark: [UInt8]) async throws {
        let text = Array("source,id\n".utf8)
        let file = try ImportFile(mark + text.flatMap { mark[0] == 0xFF ? [$0, 0] : [0, $0] })
        let error = await #expect(throws: TargetGroupsError.self) { try await file.run() }
        #expect(error?.message.contains("UTF-16") == true && error?.message.contains("save it as UTF-8") == true)
    }

    @Test("rejects rows that are not UTF-8 or hold a NUL, and takes the source from the caller", .database)
    func bytes() async throws {
        let world = World()
        var bytes = Array("id,family_name\n1,Bérg\n2,".utf8)
        bytes += [0xE9, 0x0A] + Array("3,".utf8) + [0] + Array("x\n4,Bos\n".utf8)
        let file = try ImportFile(bytes)
        let report = try await FileImport(path: file.path, source: "hr", rejects: file.path + ".bad").run(
            in: world.pool)
        #expect(report.created == 2)
        #expect(report.faults.map(\.description) == ["line 3: is not UTF-8", "line 4: holds a NUL character"])
        #expect(try await world.persons.find(source: "HR", id: "4") != nil)
        #expect(try Array(Data(contentsOf: URL(filePath: file.path + ".bad"))).contains(0xE9))
    }

    @Test("of 20,000 rows puts them all, evaluates them once, and puts none of them again", .database)
    func many() async throws {
        let world = World()
        let group = try await world.group()
        var text = "source;id;voornaam;achternaam;e-mail zakelijk;categorieën\n"
        for id in 0..<20_000 {
            text +=
                "crm;\(id);Jan;Naam\(id);p\(id)@example.nl;\(id.isMultiple(of: 2) ? "Mailingen / Nieuwsbrief" : "A / B")\n"
        }
        let file = try ImportFile(text)
        let report = try await file.run()
        #expect(report.created == 20_000 && report.isImported)
        let jobs = try await world.pool.query("select count(*) from koppeling.job where kind = 'group.evaluate'")
        #expect(try jobs.scalar(as: Int64.self) == 1)
        try await world.evaluate()
        #expect(try await world.groups.find("Nieuwsbrief")?.active == 10_000)
        #expect(group > 0)
        let again = try await file.run()
        #expect(again.unchanged == 20_000 && again.changed == 0)
        let waiting = try await world.pool.query("select count(*) from koppeling.evaluation_request")
        #expect(try waiting.scalar(as: Int64.self) == 0)
    }
}
