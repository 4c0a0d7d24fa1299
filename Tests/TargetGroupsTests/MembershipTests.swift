import Postgres
import TargetGroups
import TestSupport
import Testing

@Suite("Memberships")
struct MembershipTests {
    private let newsletter = ["Mailingen / Nieuwsbrief"]

    @Test("a hand decides against the rules, both ways, and can leave it to them again", .database)
    func byHand() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", categories: newsletter)
        try await world.evaluate()
        try await world.memberships.setOverride(.include, person: person, group: group, actor: "piet")
        #expect(try await world.membership(person, group) == .byHand)
        try await world.put("1", categories: [])
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .byHand, "added while a rule matched, the rule lost")
        try await world.memberships.setOverride(.exclude, person: person, group: group, actor: "piet")
        try await world.put("1", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("manual"))
        try await world.memberships.setOverride(.none, person: person, group: group, actor: "piet")
        #expect(try await world.membership(person, group) == .byRule)
    }

    @Test("end when no rule matches any more, and come back when one does", .database)
    func tombstone() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", categories: newsletter)
        try await world.evaluate()
        try await world.put("1", categories: [])
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("ruleNoLongerMatches"))
        try await world.put("1", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .byRule)
    }

    @Test("an old decision to add by hand does not outlive archiving", .database)
    func archiving() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1")
        try await world.memberships.setOverride(.include, person: person, group: group, actor: "piet")
        try await world.persons.archive(source: "crm", id: "1", actor: "piet")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("archived"))
        try await world.put("1", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("archived"), "putting does not reactivate")
        try await world.put("1", categories: [])
        try await world.persons.reactivate(source: "crm", id: "1", actor: "piet")
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("ruleNoLongerMatches"))
    }

    @Test("of somebody who was never a member and is not wanted any more are gone", .database)
    func absent() async throws {
        let world = World()
        let group = try await world.group()
        try await world.found("unsubscribed", at: "jan@example.nl", group: group)
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        try await world.evaluate()
        #expect(try await world.membership(person, group) == .inactive("unsubscribed"))
        try await world.put("1", categories: [])
        try await world.evaluate()
        #expect(try await world.membership(person, group) == nil)
    }

    @Test("are listed by family name, page by page, without one twice or missing", .database)
    func pages() async throws {
        let world = World()
        let group = try await world.group()
        for (id, name) in ["Zijlstra", "de Boer", "Appel", "Boer", "boer", "Évers", ""].enumerated() {
            try await world.put("\(id)", categories: newsletter, name: name.isEmpty ? nil : name)
        }
        try await world.evaluate()
        var names: [String] = []
        var cursor: MembershipPage.Cursor?
        repeat {
            let page = try await world.memberships.list(group: group, status: .active, after: cursor, limit: 2)
            names += page.memberships.map(\.lastName)
            cursor = page.next
        } while cursor != nil
        #expect(names == ["", "Appel", "Boer", "boer", "de Boer", "Évers", "Zijlstra"])
        #expect(try await world.memberships.list(group: group, status: .inactive).memberships.isEmpty)
    }

    @Test("are explained by their facts and how they came about", .database)
    func why() async throws {
        let world = World()
        let group = try await world.group()
        let person = try await world.put("1", email: "jan@example.nl", categories: newsletter)
        let before = try await world.memberships.why(person: person, group: group)
        #expect(before.status == nil && before.isPending && before.changes.isEmpty)
        try await world.evaluate()
        try await world.found("unsubscribed", at: "jan@example.nl", group: group)
        try await world.memberships.setOverride(.include, person: person, group: group, actor: "piet")
        let after = try await world.memberships.why(person: person, group: group)
        #expect(after.status == .inactive && after.reasons == [.unsubscribed])
        #expect(after.ruleMatch && after.matchedRule == 1 && after.override == .include && after.everMember)
        #expect(!after.isPending)
        #expect(Set(after.suppressions.map(\.reason)) == [.unsubscribed])
        #expect(after.changes.map(\.kind) == ["override", "status", "status"])
        #expect(after.changes.map(\.actor) == ["piet", "mailchimp", "evaluation"])
    }

    @Test("of somebody who is not there cannot be decided", .database)
    func nobody() async throws {
        let world = World()
        let group = try await world.group()
        let error = await #expect(throws: TargetGroupsError.self) {
            try await world.memberships.setOverride(.include, person: 99, group: group, actor: "piet")
        }
        #expect(error?.code == .notFound)
    }
}
