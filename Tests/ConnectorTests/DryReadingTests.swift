import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Linking and pulling as dry runs: they say what would be, and nothing is.
@Suite("A dry run", .database)
struct DryReadingTests {
    /// Everything that could have been written; the workers' own rows are not looked at.
    private func rows(_ list: LinkedList) async throws -> [JSONText] {
        try await list.pool.query(
            """
            select jsonb_agg(to_jsonb(x)) as row from koppeling.audience_member x
            union all select jsonb_agg(to_jsonb(x)) from koppeling.suppression x
            union all select jsonb_agg(to_jsonb(x)) from koppeling.membership x
            union all select jsonb_agg(to_jsonb(x)) from koppeling.connector_instance x
            union all select jsonb_agg(to_jsonb(x)) from koppeling.target_group x
            union all select jsonb_agg(x.id) from koppeling.job x where x.kind = 'action'
            """
        ).map { try $0.decode("row", as: JSONText?.self) ?? "null" }
    }

    @Test("of linking says which list, its contacts, its merge fields and the noes that would be carried")
    func linking() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            let other = try await list.addList("Tweede")
            try await list.control(
                "POST", "lists/\(other.list)/contacts", #"{"email_address": "vrij@post.koppeling.nl"}"#)
            try await list.control("DELETE", "requests")
            let before = try await rows(list)
            let account = try await list.accounts.find("Instituut")
            let preview = try await list.instances.previewLink(account: account, list: "Tweede", name: "Nieuw")
            #expect(preview.listID == other.list)
            #expect(preview.targetGroup == "Mailchimp - Nieuw")
            #expect(preview.contacts["subscribed"] == 1 && preview.contacts["archived"] == 0)
            #expect(preview.mapped == ["FNAME", "LNAME"] && preview.missing.isEmpty)
            #expect(preview.noes == 1)
            let alone = try await list.instances.previewLink(
                account: account, list: "Tweede", name: "Nieuw", carriesNoes: false)
            #expect(alone.noes == 0)
            let refused = await #expect(throws: ConnectorError.self) {
                _ = try await list.instances.previewLink(account: account, list: list.list, name: "Nieuw")
            }
            #expect(refused?.code == .alreadyLinked)
            #expect(try await rows(list) == before)
            #expect(try await list.writes() == 0)
        }
    }

    @Test("of a pull says who is new, who changed, which noes were found and who would leave; the pull then does so")
    func pulling() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await list.pull(full: true)
            // Nothing of this is read before the dry run has been.
            try await list.hold(true)
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.asAdmin("archive", list.address("1"))
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "vrij@post.koppeling.nl"}"#)
            try await list.control("DELETE", "requests")
            let before = try await rows(list)
            for full in [false, true] {
                let preview = try await list.instances.previewPull(instance: list.instance.name, full: full)
                #expect(preview.isFull == full)
                #expect(preview.new == ["subscribed": 1])
                #expect(preview.changed == ["unsubscribed": 1, "archived": 1])
                #expect(preview.noes == ["unsubscribed": 1, "removedInMailchimp": 1])
                #expect(preview.inactive == 2)
                #expect(preview.missing == (full ? 0 : nil))
            }
            #expect(try await rows(list) == before)
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.writes() == 0)
            try await list.hold(false)
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.membership("1") == "inactive removedInMailchimp")
        }
    }
}
