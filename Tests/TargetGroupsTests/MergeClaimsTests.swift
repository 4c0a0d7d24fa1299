import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Merging persons who are in a list")
struct MergeClaimsTests {
    /// A linked group whose members are in the list as the person file has them.
    private func link(_ world: World, members: [(id: String, email: String?)]) async throws -> [Int64] {
        let group = try await world.group()
        try await world.pool.query(
            """
            with account as (
                insert into koppeling.mailchimp_account (name, credential, data_centre, account_id, login_id)
                values ('account', '', 'us1', 'a', 'l') returning id
            ), instance as (
                insert into koppeling.connector_instance (
                    account_id, name, list_id, list_name, target_group_id, enabled, activated, webhook_secret_hash,
                    webhook_secret)
                select a.id, 'instance', 'list', 'list', \(group)::bigint, true, true, sha256(''), '' from account a
                returning id
            )
            insert into koppeling.merge_field (instance_id, tag, source) select id, 'LNAME', 'last_name' from instance
            """)
        var persons: [Int64] = []
        for (id, email) in members {
            persons.append(
                try await world.put(
                    id, email: .some(email), categories: ["Mailingen / Nieuwsbrief"], name: "Naam \(id)"))
        }
        try await world.evaluate()
        try await world.pool.query(
            """
            update koppeling.audience_member m
            set status = 'subscribed', contact_id = 'contact-' || m.address, ownership = 'created',
                applied_fields = c.fields, file_key = m.address_key
            from koppeling.claim c where c.member_id = m.id
            """)
        try await world.pool.query("delete from koppeling.job where kind = 'action'")
        return persons
    }

    /// Who claims which contact, and what is staged for it.
    private func claims(in world: World) async throws -> [String] {
        try await world.pool.query(
            """
            select concat_ws(' ', c.person_id::text, m.address, 'at', c.address) from koppeling.claim c
            join koppeling.audience_member m on m.id = c.member_id order by 1
            """
        ).map { row in try row.decode(0) }
    }

    private func staged(in world: World) async throws -> [String] {
        try await world.pool.query(
            """
            select (j.args ->> 'action') || ' ' || m.address from koppeling.job j
            join koppeling.audience_member m on m.id = (j.args ->> 'member')::bigint
            where j.kind = 'action' order by 1
            """
        ).map { row in try row.decode(0) }
    }

    private func merge(_ world: World) async throws {
        try await world.persons.merge(
            Identity(source: "crm", id: "2"), into: Identity(source: "crm", id: "1"), actor: "test")
    }

    @Test("gives the survivor without an address the other's contact, which is told her name", .database)
    func takenOver() async throws {
        let world = World()
        let persons = try await link(world, members: [("1", nil), ("2", "two@x.nl")])
        try await merge(world)
        #expect(try await claims(in: world) == ["\(persons[0]) two@x.nl at two@x.nl"])
        #expect(try await staged(in: world) == ["update two@x.nl"])
    }

    @Test("of a survivor who is not in the list moves the other's contact to her address", .database)
    func moved() async throws {
        let world = World()
        let persons = try await link(world, members: [("2", "two@x.nl")])
        let survivor = try await world.put("1", email: "one@x.nl", name: "Naam 2")
        try await world.evaluate()
        try await merge(world)
        #expect(try await claims(in: world) == ["\(survivor) two@x.nl at one@x.nl"])
        #expect(try await staged(in: world) == ["update two@x.nl"])
        #expect(persons.count == 1)
    }

    @Test("of two who share a contact sends nothing when the survivor was the first of the two", .database)
    func shared() async throws {
        let world = World()
        let persons = try await link(world, members: [("1", "both@x.nl"), ("2", "both@x.nl")])
        try await merge(world)
        #expect(try await claims(in: world) == ["\(persons[0]) both@x.nl at both@x.nl"])
        #expect(try await staged(in: world) == [])
    }

    @Test("of two with a contact each lets the other's go", .database)
    func twoContacts() async throws {
        let world = World()
        let persons = try await link(world, members: [("1", "one@x.nl"), ("2", "two@x.nl")])
        try await merge(world)
        #expect(try await claims(in: world) == ["\(persons[0]) one@x.nl at one@x.nl"])
        #expect(try await staged(in: world) == ["delete two@x.nl"])
    }

    @Test(
        "with a no on either side leaves no claim, and is held back by no plan", .database,
        arguments: ["one@x.nl", "two@x.nl"])
    func no(said: String) async throws {
        let world = World()
        let persons = try await link(world, members: [("1", "one@x.nl"), ("2", "two@x.nl")])
        let group = try #require(try await world.groups.find("Nieuwsbrief")?.id)
        try await world.found("unsubscribed", at: said, group: group)
        try await merge(world)
        #expect(try await claims(in: world) == [])
        #expect(try await world.membership(persons[0], group) == .inactive("unsubscribed"))
        let plans = try await world.pool.query("select count(*) from koppeling.change_plan")
        #expect(try plans.scalar(as: Int64.self) == 0)
    }

    private func leaving(in world: World) async throws -> Int64 {
        try await world.pool.query("select count(*) from koppeling.change_plan_line where change = 'leave'").scalar()
    }

    @Test("rewrites the lines of a plan that is held", .database)
    func heldPlan() async throws {
        let world = World()
        _ = try await link(world, members: [("1", "one@x.nl"), ("2", "two@x.nl"), ("3", "three@x.nl")])
        try await world.pool.query(
            "update koppeling.connector_instance set removals_count = 0, removals_share = 0, removals_cap = 0")
        for id in ["2", "3"] { try await world.put(id, categories: []) }
        try await world.evaluate()
        #expect(try await leaving(in: world) == 2)
        try await merge(world)
        #expect(try await leaving(in: world) == 1)
        #expect(try await claims(in: world).count == 2)
    }
}
