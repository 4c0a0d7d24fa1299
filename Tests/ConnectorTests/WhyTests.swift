import FoundationEssentials
import MailchimpSandbox
import Postgres
import TargetGroups
import TestSupport
import Testing

@testable import Connector

/// Why somebody is, or is not, on the list; and all that is held on somebody.
@Suite("What is said of a person", .database)
struct WhyTests {
    private struct Delivery: Decodable {
        struct Contact: Decodable {
            var status: String
            var ownership: String
            var note: String?
        }
        struct Action: Decodable {
            var action: String
            var state: String
        }
        var address: String?
        var is_claimed: Bool
        var contact: Contact?
        var actions: [Action]
    }

    private struct Whole: Decodable { var delivery: Delivery }

    private func why(_ id: String, _ list: LinkedList, at moment: Date? = nil) async throws -> (Explanation, Delivery) {
        let said: JSONText = try await list.pool.query(
            "select koppeling.why('TEST', \(id)::text, \(list.instance.targetGroup)::text, \(moment)::timestamptz)"
        ).scalar()
        return (try said.decode(), try said.decode(Whole.self).delivery)
    }

    @Test("names the rule, the contact and the actions; then the no, where it stands, and the facts of before")
    func history() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let (member, delivered) = try await why("0", list)
            #expect(member.status == .active)
            #expect(member.matchedRule == 1 && member.ruleText == LinkedList.category)
            #expect(delivered.is_claimed && delivered.contact?.status == "subscribed")
            #expect(delivered.contact?.ownership == "created")
            #expect(delivered.actions.map(\.action) == ["create"] && delivered.actions.map(\.state) == ["done"])

            let before: Date = try await list.pool.query("select koppeling.now()").scalar()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            let (left, contact) = try await why("0", list)
            #expect(left.status == .inactive && left.reasons == [.unsubscribed])
            #expect(Set(left.suppressions.map(\.standsAt)) == ["person", "address"])
            #expect(!contact.is_claimed && contact.contact?.status == "unsubscribed")

            let (then, _) = try await why("0", list, at: before)
            #expect(then.status == .active && then.ruleMatch && then.suppressions.isEmpty && then.everMember)
            let (beginning, _) = try await why("0", list, at: before.addingTimeInterval(-86_400))
            #expect(beginning.status == nil && beginning.changes.isEmpty && !beginning.everMember)
        }
    }

    @Test("tells a hand's decision at a moment, also one that changed no status")
    func override() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let before: Date = try await list.pool.query("select koppeling.now()").scalar()
            try await list.decide("include", "0")
            #expect(try await why("0", list).0.override == .include)
            let after: Date = try await list.pool.query("select koppeling.now()").scalar()
            try await list.decide("none", "0")
            #expect(try await why("0", list, at: before).0.override == .none)
            #expect(try await why("0", list, at: after).0.override == .include)
            #expect(try await why("0", list).0.override == .none)
        }
    }

    @Test("is exported in full: file, consent, contact, jobs, audit")
    func export() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            let put = JSONText(
                #"[{"source": "test", "id": "0"}, {"source": "test", "id": "1", "family_name": "Vreemd"}]"#)
            try await list.pool.query("select koppeling.enqueue('persons.put', \(put)::jsonb)")
            let held: JSONText = try await list.pool.query("select koppeling.export_person('test', '0')").scalar()
            struct Export: Decodable {
                struct Entry: Decodable {}
                struct Contact: Decodable {
                    var address: String
                    var status: String
                    var actions: [Entry]
                }
                struct Job: Decodable { var person: [String: String] }
                var person: Person
                var memberships: [Entry]
                var consent: [Entry]
                var contacts: [Contact]
                var audit: [Entry]
                var jobs: [Job]
            }
            let export: Export = try held.decode()
            #expect(export.person.emails == ["zakelijk": list.address("0")])
            #expect(export.memberships.count == 1 && export.consent.count == 3)
            #expect(export.contacts.map(\.address) == [list.address("0")])
            #expect(export.contacts.first?.actions.isEmpty == false)
            #expect(export.audit.count >= 2)
            #expect(export.jobs.map(\.person) == [["source": "test", "id": "0"]])
            #expect(!held.text.contains("Vreemd") && !held.text.contains(list.address("1")))
        }
    }
}
