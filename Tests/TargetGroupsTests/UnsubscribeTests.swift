import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("A person's no that a user records")
struct UnsubscribeTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]

    @Test("holds in every group at once, linked or not, and the person stays active", .database)
    func everyGroup() async throws {
        let world = World()
        let groups = [try await world.group("Een"), try await world.group("Twee")]
        let unlinked = try await world.groups.create("Los")
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.persons.unsubscribe(source: "CRM", id: "1", actor: "piet") == 3)
        for group in groups { #expect(try await world.membership(person, group) == .inactive("unsubscribed")) }
        #expect(try await world.membership(person, unlinked.id) == nil)
        #expect(try await world.persons.find(source: "crm", id: "1")?.state == .active)
        let entries = try await world.pool.query(
            """
            select count(*) from koppeling.suppression
            where source = 'user' and (address_key = 'jan@example.nl' or person_id = \(person)::bigint)
            """)
        // At the address and at her, in each of the three, and in those to come.
        #expect(try entries.scalar(as: Int64.self) == 8)
    }

    @Test("holds in a group that is made later, whatever her address is then, also where there was none", .database)
    func laterGroup() async throws {
        let world = World()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        #expect(try await world.persons.unsubscribe(source: "crm", id: "1", actor: "piet") == 0)
        try await world.put("1", email: "nieuw@example.nl")
        let group = try await world.group()
        let other = try await world.put("2", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
        #expect(try await world.membership(other, group) == .inactive("unsubscribed"), "the address is barred too")
    }

    @Test("holds in a group that is being made when it is recorded", .database)
    func groupBeingMade() async throws {
        let world = World()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            try await world.pool.transaction { connection in
                try await connection.query("insert into koppeling.target_group (name) values ('Straks')")
                tasks.addTask { try await world.persons.unsubscribe(source: "crm", id: "1", actor: "piet") }
                try await eventually("it waits for the group") {
                    try await world.pool.query(
                        "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
                    ).scalar()
                }
            }
            try await tasks.waitForAll()
        }
        let reasons: [String] = try await world.pool.query(
            """
            select r.reasons from koppeling.target_group g,
                koppeling.open_reasons(g.id, false, array[\(person)::bigint]) r
            """
        ).scalar()
        #expect(reasons == ["unsubscribed"])
    }

    @Test("holds in the one group that is named, without regard to case", .database)
    func oneGroup() async throws {
        let world = World()
        let (one, two) = (try await world.group("Een"), try await world.group("Twee"))
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.persons.unsubscribe(source: "crm", id: "1", group: "EEN", actor: "piet") == 1)
        #expect(try await world.membership(person, one) == .inactive("unsubscribed"))
        #expect(try await world.membership(person, two) == .byRule)
    }

    @Test("holds without an address, for the one that comes later", .database)
    func withoutAddress() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", categories: newsletter)
        try await world.evaluate()
        try await world.persons.unsubscribe(source: "crm", id: "1", actor: "piet")
        try await world.put("1", email: "jan@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
    }

    @Test("is refused for an unknown person or group, by name", .database)
    func unknown() async throws {
        let world = World()
        try await world.put("1")
        let noPerson = await #expect(throws: TargetGroupsError.self) {
            try await world.persons.unsubscribe(source: "crm", id: "9", actor: "piet")
        }
        #expect(noPerson?.code == .notFound)
        #expect(noPerson?.message.contains(#"source "crm" and id "9""#) == true)
        let noGroup = await #expect(throws: TargetGroupsError.self) {
            try await world.persons.unsubscribe(source: "crm", id: "1", group: "Nergens", actor: "piet")
        }
        #expect(noGroup?.message.contains(#"there is no target group "Nergens""#) == true)
    }
}
