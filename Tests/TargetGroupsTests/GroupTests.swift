import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("A group", .database)
struct GroupTests {
    @Test("that is deleted leaves its name, nobody in it, and what persons said to it")
    func deleted() async throws {
        let world = World()
        let group = try await world.groups.create("Nieuwsbrief")
        let person = try await world.put("1", email: "a@post.koppeling.nl", categories: ["Mailingen / Nieuwsbrief"])
        _ = try await world.rules.save(
            [[Criterion("Mailingen / Nieuwsbrief")]], group: group.id, over: 1, actor: "test")
        #expect(try await world.membership(person, group.id)?.status == "active")
        try await world.found("unsubscribed", at: "a@post.koppeling.nl", group: group.id)
        try await world.groups.delete("nieuwsbrief", actor: "test")
        #expect(try await world.groups.find("Nieuwsbrief") == nil)
        #expect(try await world.membership(person, group.id) == nil)
        // Whoever is given the address is bound to it still.
        let other = try await world.put("2", email: "a@post.koppeling.nl", categories: ["Mailingen / Nieuwsbrief"])
        try await world.evaluate()
        let bound: Int64 = try await world.pool.query(
            """
            select count(*) from koppeling.open_suppression
            where target_group_id = \(group.id)::bigint and person_id in (\(person)::bigint, \(other)::bigint)
            """
        ).scalar()
        #expect(bound == 2)
        #expect(try await world.groups.create("Nieuwsbrief").id != group.id)
        // An erasure reaches what was said to it.
        try await world.pool.query("select koppeling.erase_person_now(\(other)::bigint, '\\x01'::bytea, 'test')")
        let left: Int64 = try await world.pool.query(
            "select count(*) from koppeling.suppression where person_id = \(other)::bigint"
        ).scalar()
        #expect(left == 0)
        let gone = await #expect(throws: TargetGroupsError.self) {
            try await world.groups.delete("Oud", actor: "test")
        }
        #expect(gone?.code == .notFound)
    }
}
