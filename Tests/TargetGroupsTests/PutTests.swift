import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Putting persons")
struct PutTests {
    private func put(_ json: String, in world: World) async throws {
        try await world.persons.put(JSONText("[\(json)]"))
    }

    @Test("leaves what is absent, clears what is null, replaces a list", .database)
    func fields() async throws {
        let world = World()
        try await put(
            """
            {"source": "crm", "id": "1", "given_name": "Jan", "prefixes": "van der", "family_name": "Berg", "gender": "man",
             "emails": {"zakelijk": "jan@werk.nl", "privé": "jan@thuis.nl"}, "categories": ["A / B", "A / C"]}
            """, in: world)
        try await put(#"{"source": "crm", "id": "1", "initials": "J."}"#, in: world)
        var person = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(person.givenName == "Jan" && person.initials == "J." && person.prefixes == "van der")
        #expect(person.gender == "male" && person.categories == ["A / B", "A / C"])
        #expect(person.emails == ["zakelijk": "jan@werk.nl", "privé": "jan@thuis.nl"])

        try await put(
            """
            {"source": "crm", "id": "1", "given_name": null, "gender": null, "emails": {"zakelijk": null},
             "categories": ["A / D"]}
            """, in: world)
        person = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(person.givenName == nil && person.gender == "unknown" && person.familyName == "Berg")
        #expect(person.emails == ["privé": "jan@thuis.nl"] && person.categories == ["A / D"])

        try await put(#"{"source": "crm", "id": "1", "emails": null, "categories": null}"#, in: world)
        person = try #require(try await world.persons.find(source: "crm", id: "1"))
        #expect(person.emails.isEmpty && person.categories.isEmpty)
    }

    private static let faulty: [(person: String, message: String)] = [
        (#"{"source": "crm", "id": "2", "shoe_size": 43}"#, #"field "shoe_size" is not known"#),
        (#"{"source": "crm", "id": "2", "gender": "blauw"}"#, #"field "gender" must be male"#),
        (#"{"source": "crm", "id": "2", "family_name": 7}"#, #"field "family_name" must be a text or null"#),
        (
            #"{"source": "crm", "id": "2", "emails": {"zakelijk": "jan"}}"#,
            #"field "emails.zakelijk" must hold exactly one @"#
        ),
        (
            #"{"source": "crm", "id": "2", "emails": {"zakelijk": "a b@c.nl"}}"#,
            #"field "emails.zakelijk" must not hold spaces"#
        ),
        (
            #"{"source": "crm", "id": "2", "emails": {"zakelijk": "a@localhost"}}"#,
            #"field "emails.zakelijk" must end in a full"#
        ),
        (
            #"{"source": "crm", "id": "2", "emails": {"Werk": "a@b.nl", "werk": "c@d.nl"}}"#,
            #"field "emails.werk" is given twice"#
        ),
        (#"{"source": "crm", "id": "2", "emails": ["a@b.nl"]}"#, #"field "emails" must be an object"#),
        (#"{"source": "crm", "id": "2", "categories": ["Los"]}"#, #"field "categories" "Los" must be written as"#),
        (#"{"source": "crm", "id": "2", "categories": "A / B"}"#, #"field "categories" must be a list"#),
        (#"{"source": "crm"}"#, #"field "id" is missing"#),
        (#"{"id": "2"}"#, #"field "source" is missing"#),
        ("3", "must be an object"),
    ]

    @Test("names the person and the field that is wrong, and changes nothing", .database)
    func faults() async throws {
        let world = World()
        for (person, message) in Self.faulty {
            let error = await #expect(throws: TargetGroupsError.self) {
                try await world.persons.put(
                    JSONText(#"[{"source": "crm", "id": "1", "categories": ["A / B"]}, \#(person)]"#))
            }
            #expect(error?.code == .badInput)
            #expect(error?.message.hasPrefix("person 2: \(message)") == true, "\(error?.message ?? "")")
        }
        #expect(try await world.persons.find(source: "crm", id: "1") == nil)
        let left = try await world.pool.query(
            "select (select count(*) from koppeling.category) + (select count(*) from koppeling.evaluation_request)")
        #expect(try left.scalar(as: Int64.self) == 0)
    }

    @Test("of the same facts again, or of another spelling of the address, asks for no evaluation", .database)
    func nothingChanged() async throws {
        let world = World()
        let whole =
            #"{"source": "crm", "id": "1", "family_name": "Berg", "emails": {"zakelijk": "jan@x.nl"}, "categories": ["A / B"]}"#
        try await put(whole, in: world)
        try await world.evaluate()
        let spellings = [
            whole, #"{"source": "CRM", "id": "1"}"#,
            #"{"source": "crm", "id": "1", "emails": {"Zakelijk": " Jan@X.nl "}}"#,
            #"{"source": "crm", "id": "1", "family_name": "  Berg "}"#,
            #"{"source": "crm", "id": "1", "categories": ["a/b"]}"#,
        ]
        for spelling in spellings {
            try await put(spelling, in: world)
            let waiting = try await world.pool.query("select count(*) from koppeling.evaluation_request")
            #expect(try waiting.scalar(as: Int64.self) == 0, "\(spelling)")
        }
        #expect(try await world.persons.find(source: "crm", id: "1")?.emails == ["zakelijk": "Jan@X.nl"])
        try await put(#"{"source": "crm", "id": "1", "family_name": "berg"}"#, in: world)
        let waiting = try await world.pool.query("select count(*) from koppeling.evaluation_request")
        #expect(try waiting.scalar(as: Int64.self) == 1, "a name in other capitals is another name")
    }

    @Test("who stand in the list twice puts them in that order", .database)
    func twice() async throws {
        let world = World()
        try await world.persons.put(
            """
            [{"source": "crm", "id": "x", "family_name": "Een", "given_name": "An"},
             {"source": "CRM", "id": "X", "family_name": "Twee"}]
            """)
        let person = try #require(try await world.persons.find(source: "crm", id: "x"))
        #expect(person.familyName == "Twee" && person.givenName == "An")
    }

    @Test("is open to the writer's role, which sees no table", .database)
    func roles() async throws {
        let connection = try await Connection.connect(TestDatabase.current.settings)
        try await connection.script("set role koppeling_writer")
        try await connection.query(
            #"select koppeling.put_person('{"source": "crm", "id": "1", "categories": ["A / B"]}')"#)
        try await connection.query("select koppeling.archive_person('crm', '1')")
        await #expect(throws: PostgresError.self) { try await connection.query("select * from koppeling.person") }
        await #expect(throws: PostgresError.self) {
            try await connection.query("select koppeling.set_override(1, 1, 'include', 'me')")
        }
        try await connection.script("set role koppeling_reader")
        try await connection.query("select * from koppeling.target_group_members")
        await #expect(throws: PostgresError.self) {
            try await connection.query(#"select koppeling.put_person('{"source": "crm", "id": "2"}')"#)
        }
    }

    @Test("by two sessions in opposite order never deadlocks", .database)
    func noDeadlock() async throws {
        let world = World()
        let ids = (0..<40).map { "\($0)" }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for session in 0..<3 {
                group.addTask {
                    for round in 0..<8 {
                        let order = (session + round).isMultiple(of: 2) ? ids : ids.reversed()
                        let list = order.map {
                            #"{"source": "crm", "id": "\#($0)", "family_name": "N\#(session)\#(round)", "categories": ["A / \#(round)", "B / \#(session)"]}"#
                        }
                        try await world.persons.put(JSONText("[\(list.joined(separator: ","))]"))
                    }
                }
            }
            try await group.waitForAll()
        }
        let persons = try await world.pool.query("select count(*) from koppeling.person").scalar(as: Int64.self)
        #expect(persons == 40)
    }
}
