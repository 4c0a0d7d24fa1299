import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("What is found at an address without anybody's no")
struct BounceTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]

    @Test("a bounce ends with another address, and comes back with the bad one", .database)
    func anotherAddress() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "weg@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("cleaned", at: "weg@example.nl", contact: "c1", claimants: [person], group: group)
        #expect(try await world.membership(person, group) == .inactive("cleaned"))
        try await world.put("1", email: "goed@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .byRule)
        try await world.put("1", email: "weg@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("cleaned"))
    }

    @Test("a bounce at the private address is no bounce of the business one", .database)
    func anotherKind() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "werk@example.nl", categories: newsletter)
        let more = JSONText(#"{"source": "crm", "id": "1", "emails": {"privé": "thuis@example.nl"}}"#)
        try await world.pool.query("select koppeling.put_person(\(more)::jsonb)")
        try await world.evaluate()
        try await world.found("cleaned", at: "thuis@example.nl", group: group)
        #expect(try await world.membership(person, group) == .byRule)
        try await world.found("unsubscribed", at: "thuis@example.nl", group: group)
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"), "but a no is the person's")
    }

    @Test("a bounce of a contact that moved inside Mailchimp counts until the file's address changes", .database)
    func movedContact() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "file@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("cleaned", at: "moved@example.nl", contact: "c1", claimants: [person], group: group)
        #expect(try await world.membership(person, group) == .inactive("cleaned"))
        try await world.put("1", email: "third@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .byRule)
    }

    @Test("a bounce that Mailchimp reports over is over for the claimant too", .database)
    func subscribedAgain() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "file@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("cleaned", at: "moved@example.nl", contact: "c1", claimants: [person], group: group)
        try await world.pool.query(
            """
            select koppeling.lift_suppression(s.id, 'mailchimp', 'subscribed again')
            from koppeling.open_suppression s
            where s.contact_id = 'c1' or s.address_key = 'moved@example.nl'
            """)
        #expect(try await world.membership(person, group) == .byRule)
    }

    @Test("archived inside Mailchimp stays with the claimant until a user lets her back in", .database)
    func removedInMailchimp() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        let later = try await world.put("2", categories: newsletter)
        try await world.evaluate()
        try await world.found(
            "removedInMailchimp", at: "jan@example.nl", contact: "c1", claimants: [person], group: group)
        #expect(try await world.membership(person, group) == .inactive("removedInMailchimp"))
        try await world.put("1", email: "anders@example.nl")
        try await world.put("2", email: "jan@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("removedInMailchimp"))
        #expect(try await world.membership(later, group) == .byRule, "it is not a no of the address")
        try await world.lift(["removedInMailchimp"], at: "jan@example.nl", persons: [person], group: group)
        #expect(try await world.membership(person, group) == .byRule)
    }

    @Test("a contact deleted for good stays out, whatever address the person gets", .database)
    func forgotten() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("forgotten", at: "jan@example.nl", claimants: [person], group: group)
        try await world.put("1", email: "anders@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("forgotten"))
    }
}
