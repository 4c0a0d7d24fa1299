import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("A no")
struct ConsentTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]

    @Test("outlives everything but the person herself", .database)
    func neverSubscribedAgain() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .byRule)

        let changed = try await world.found(
            "unsubscribed", at: "Jan@Example.nl", contact: "c1", claimants: [person], group: group)
        #expect(changed == [person])
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))

        func stillOut(_ deed: String) async throws {
            try await world.evaluate()
            #expect(
                try await world.membership(person, group)?.reasons.contains("unsubscribed") == true, "after \(deed)")
        }
        try await world.put("1", categories: [])
        try await stillOut("dropping the category")
        try await world.put("1", categories: newsletter)
        try await stillOut("adding the category")
        _ = try await world.rules.save(
            [[Criterion("Mailingen / Nieuwsbrief")], []], group: group, over: 2, actor: "test")
        try await stillOut("rewriting the rules")
        try await world.persons.archive(source: "crm", id: "1", actor: "test")
        try await stillOut("archiving")
        try await world.persons.reactivate(source: "crm", id: "1", actor: "test")
        try await stillOut("reactivating")
        try await world.put("1", email: "nieuw@example.nl", categories: newsletter)
        try await stillOut("a new address")
        try await world.memberships.setOverride(.include, person: person, group: group, actor: "test")
        try await stillOut("adding by hand")
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
        let state = try await world.persons.find(source: "crm", id: "1")?.state
        #expect(state == .active)
    }

    @Test("said again at another address is the person's last, however often it is looked at", .database)
    func saidAgainElsewhere() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        let said = { (id: Int64) in
            try await world.pool.query(
                "select occurred_at::text from koppeling.suppression where person_id = \(id)::bigint order by id"
            ).map { try $0.decode(0, as: String.self) }
        }
        let saidAt = { (address: String) in
            try await world.pool.query(
                "select max(occurred_at)::text from koppeling.suppression where address_key = \(address)::text"
            ).scalar(as: String.self)
        }
        try await world.found("unsubscribed", at: "jan@example.nl", group: group)
        // Nobody holds it yet.
        try await world.found("unsubscribed", at: "nieuw@example.nl", group: group)
        try await world.put("1", email: "nieuw@example.nl")
        // Of the address that she has by now.
        for _ in 0..<2 {
            try await world.put("1", name: "Anders")
            try await world.evaluate()
            try await world.put("1", name: "Berg")
            try await world.evaluate()
        }
        let first = [try await saidAt("jan@example.nl"), try await saidAt("nieuw@example.nl")]
        #expect(try await said(person) == first)
        try await world.found("unsubscribed", at: "nieuw@example.nl", group: group)
        #expect(try await said(person).count == 3, "at her, and not once more at the address")
        #expect(try await saidAt("nieuw@example.nl") == first[1])

        let other = try await world.put("2", email: "ander@example.nl", categories: newsletter)
        try await world.found("unsubscribed", at: "ander@example.nl", group: group)
        try await world.found("unsubscribed", at: "jan@example.nl", claimants: [person], group: group)
        try await world.persons.merge(
            Identity(source: "crm", id: "1"), into: Identity(source: "crm", id: "2"), actor: "test")
        #expect(try await said(other).last == said(person).last, "the last word of the two")
        #expect(try await said(other).count == 2)
    }

    @Test("makes both of two persons with one address inactive", .database)
    func sharedAddress() async throws {
        let world = World()
        let group = try await world.group()
        let one = try await world.put("1", email: "samen@example.nl", categories: newsletter)
        let two = try await world.put("2", email: "Samen@example.nl", categories: newsletter)
        try await world.evaluate()
        let changed = try await world.found("unsubscribed", at: "samen@example.nl", claimants: [one], group: group)
        #expect(Set(changed) == [one, two])
        #expect(try await world.membership(two, group) == .inactive("unsubscribed"))
    }

    @Test("at an address that nobody holds yet binds whoever is given it, also after the next address", .database)
    func addressNobodyHolds() async throws {
        let world = World()
        let group = try await world.group()
        #expect(try await world.found("complained", at: "later@example.nl", contact: "c9", group: group).isEmpty)
        let person = try await world.put("1", email: "LATER@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("complained"))
        try await world.put("1", email: "anders@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("complained"))
    }

    @Test("holds for its own list and not for another", .database)
    func otherList() async throws {
        let world = World()
        let group = try await world.group()
        let other = try await world.group("Agenda")
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("unsubscribed", at: "jan@example.nl", group: group)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
        #expect(try await world.membership(person, other) == .byRule)
    }

    @Test("follows the claimant when the contact moved inside Mailchimp", .database)
    func movedContact() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "oud@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found(
            "unsubscribed", at: "verhuisd@example.nl", contact: "c1", claimants: [person], group: group)
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
        try await world.put("1", email: "derde@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
    }

    @Test("is recorded once while it is open", .database)
    func idempotent() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        for said in ["2026-03-02", "2026-03-02", "2026-03-01", "2026-03-02"] {
            try await world.found(
                "unsubscribed", at: "jan@example.nl", contact: "c1", claimants: [person], group: group, said: said)
        }
        let entries = try await world.pool.query("select count(*) from koppeling.suppression").scalar(as: Int64.self)
        #expect(entries == 3, "one at the contact, one at the address, one at the person")
    }

    @Test("ends for the one who is let go and for nobody else", .database)
    func lifting() async throws {
        let world = World()
        let group = try await world.group()
        let one = try await world.put("1", email: "samen@example.nl", categories: newsletter)
        let two = try await world.put("2", email: "samen@example.nl", categories: newsletter)
        try await world.evaluate()
        try await world.found("unsubscribed", at: "samen@example.nl", group: group)
        try await world.lift(["unsubscribed"], at: "samen@example.nl", persons: [one], group: group)
        #expect(try await world.membership(one, group) == .byRule)
        #expect(try await world.membership(two, group) == .inactive("unsubscribed"))
    }

    @Test("that was a complaint is never lifted by us", .database)
    func complaint() async throws {
        let world = World()
        let group = try await world.group()
        try await world.found("complained", at: "jan@example.nl", group: group)
        let error = await #expect(throws: PostgresError.self) {
            try await world.lift(["complained"], at: "jan@example.nl", group: group)
        }
        #expect(error?.message == "a complaint cannot be lifted")
    }

    @Test("cannot be rewritten or removed", .database)
    func appendOnly() async throws {
        let world = World()
        try await world.found("unsubscribed", at: "jan@example.nl", group: try await world.group())
        let statements = [
            "update koppeling.suppression set reason = 'cleaned'", "delete from koppeling.suppression",
            "delete from koppeling.suppression_lift", "truncate koppeling.suppression_lift",
        ]
        for statement in statements {
            let error = await #expect(throws: PostgresError.self) { try await world.pool.script(statement) }
            #expect(error?.message.hasSuffix("is append-only") == true)
        }
    }

    @Test("and a put of its address that cannot see each other still meet", .database, arguments: [true, false])
    func race(noCommitsFirst: Bool) async throws {
        let world = World()
        let group = try await world.group()
        let settings = TestDatabase.current.settings
        let recorder = try await Connection.connect(settings)
        let putter = try await Connection.connect(settings)
        try await recorder.script("begin")
        try await putter.script("begin")
        try await recorder.query(
            """
            select koppeling.open_suppression(
                \(group)::bigint, 'unsubscribed', 'jan@example.nl', null, '{}', 'mailchimp', koppeling.now(), '{}')
            """)
        let person = try await putter.query(
            """
            select koppeling.put_person('{"source": "crm", "id": "1", "emails": {"zakelijk": "jan@example.nl"},
                "categories": ["Mailingen / Nieuwsbrief"]}')
            """
        ).scalar(as: Int64.self)
        // An evaluation between the two commits waits for the no, because that has the group to itself.
        try await (noCommitsFirst ? recorder : putter).script("commit")
        async let evaluated: Void = world.evaluate()
        try await (noCommitsFirst ? putter : recorder).script("commit")
        try await evaluated
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
        try await world.put("1", email: "anders@example.nl")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
    }
}
