import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("A person's no that a user records")
struct UnsubscribeTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]

    @Test("holds in every linked group at once, and the person stays active", .database)
    func everyGroup() async throws {
        let world = World()
        let groups = [try await world.group("Een"), try await world.group("Twee")]
        let unlinked = try await world.groups.create("Los")
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.persons.unsubscribe(source: "CRM", id: "1", actor: "piet") == 2)
        for group in groups { #expect(try await world.membership(person, group) == .inactive("unsubscribed")) }
        #expect(try await world.membership(person, unlinked.id) == nil)
        #expect(try await world.persons.find(source: "crm", id: "1")?.state == .active)
        let entries = try await world.pool.query(
            """
            select count(*) from koppeling.suppression
            where source = 'user' and (address_key = 'jan@example.nl' or person_id = \(person)::bigint)
            """)
        #expect(try entries.scalar(as: Int64.self) == 4)
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
