import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What becomes of the contacts of two records that are merged.
@Suite("Merged persons", .database)
struct MergedPersonsTests {
    private func merge(_ list: LinkedList, _ other: String, into survivor: String) async throws {
        try await list.pool.query("select koppeling.merge_persons('test', \(survivor), 'test', \(other))")
        try await list.quiet()
    }

    @Test("who have a contact each keep the survivor's, with what she lacked; the other's is archived, and stays so")
    func twoContacts() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.put("1", #"{"gender": "vrouw", "positions": [{"function": "Directeur"}]}"#)
            try await list.quiet()
            let fields = MergeFields(pool: list.pool, accounts: list.accounts)
            for (tag, source) in [("GESLACHT", "gender"), ("FUNCTIE", "function")] {
                try await fields.map(tag, to: source, makingNamed: tag, instance: list.instance, actor: "test")
            }
            try await list.quiet()
            let before = try #require(try await list.contact(list.address("0")))
            #expect(before.status == "subscribed" && before.merge_fields["GESLACHT"] == "")

            try await merge(list, "1", into: "0")
            let after = try #require(try await list.contact(list.address("0")))
            #expect(after.status == "subscribed" && after.contact_id == before.contact_id)
            #expect(after.merge_fields["GESLACHT"] == "vrouw" && after.merge_fields["FUNCTIE"] == "Directeur")
            #expect(after.merge_fields["LNAME"] == "Berg 0")
            #expect(try await list.status(list.address("1")) == "archived")
            #expect(try await list.membership("0") == "active rule")

            // Once more, by either identity: nothing is left to do, and nothing is sent.
            try await list.control("DELETE", "requests")
            try await merge(list, "1", into: "0")
            try await list.put(
                "1", #"{"family_name": "Berg 0", "emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.pull(full: true)
            #expect(try await list.writes() == 0)
            #expect(try await list.status(list.address("1")) == "archived")
        }
    }

    @Test("a no that was said at the contact which goes is the survivor's: both are let be")
    func saidNo() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("1"))
            try await list.pull()
            #expect(try await list.membership("1") == "inactive unsubscribed")
            try await merge(list, "1", into: "0")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("1")) == "unsubscribed")
            #expect(try await list.status(list.address("0")) != "subscribed")
        }
    }
}
