import MailchimpSandbox
import Postgres
import TargetGroups
import TestSupport
import Testing

@testable import Connector

/// A linked group goes with its link, and nobody who said no to it is mailed because of that.
@Suite("A linked group that is deleted", .database)
struct DeletedGroupTests {
    private func delete(_ list: LinkedList, _ contacts: Instances.Contacts) async throws -> Instances.GroupDeletion {
        try await list.instances.setEnabled(false, instance: list.instance.name)
        var deletion: Instances.GroupDeletion?
        try await eventually("nothing runs any more", within: .seconds(30)) {
            do {
                deletion = try await list.instances.deleteGroup(
                    of: try await list.instances.find(list.instance.name), contacts: contacts, actor: "test")
            } catch let error as PostgresError where error.message.contains("still run") {}
            return deletion != nil
        }
        return try #require(deletion)
    }

    private func groups(_ list: LinkedList) async throws -> [String] {
        try await Groups(pool: list.pool).list().map(\.name)
    }

    @Test("is refused while the link is on, and without a word on its contacts")
    func refused() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let on = await #expect(throws: ConnectorError.self) {
                _ = try await list.instances.deleteGroup(of: list.instance(), contacts: .leave, actor: "test")
            }
            #expect(on?.message.contains("koppeling instance disable") == true)
            let silent = await #expect(throws: (any Error).self) {
                try await Groups(pool: list.pool).delete(list.instance.targetGroup, actor: "test")
            }
            #expect(String(describing: silent).contains(list.instance.name))
            #expect(try await groups(list).count == 1)
        }
    }

    @Test("leaves its contacts as they are, and its list can be linked again: the noes are there")
    func left() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            // Said here of somebody whom Mailchimp will not tell of: deleted there for good.
            try await list.asAdmin("delete", list.address("1"))
            try await list.pull(full: true)
            #expect(try await list.membership("1") == "inactive forgotten")
            let deletion = try await delete(list, .leave)
            #expect(deletion.isDone && deletion.left == 1)
            #expect(try await groups(list).isEmpty)
            #expect(try await list.instances.list().isEmpty)
            #expect(try await list.status(list.address("2")) == "subscribed")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            try await list.put("0", #"{"family_name": "Later"}"#)
            try await list.quiet()

            let again = try await list.instances.link(
                account: try await list.accounts.find("Instituut"), list: list.list, name: nil,
                emailKind: "zakelijk", carriesNoes: false, actor: "test")
            #expect(again.targetGroup == list.instance.targetGroup, "the name is free")
            try await list.pool.query(
                """
                select koppeling.save_rules(i.target_group_id, 1, jsonb_build_array(jsonb_build_array(
                    jsonb_build_object('kind', 'personCategory', 'value', \(LinkedList.category)::text))), true, 'test')
                from koppeling.connector_instance i
                """)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.membership("1") == "inactive forgotten")
            #expect(try await list.membership("2") == "active rule")
        }
    }

    @Test("has its contacts archived first, by a plan that somebody approves, however few they are")
    func archived() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await list.decide("include", "1")
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "vrij@post.koppeling.nl"}"#)
            try await list.pull(full: true)
            let first = try await delete(list, .archive)
            #expect(!first.isDone && first.left == 3 && first.leaves == 3)
            #expect(try await list.status(list.address("0")) == "subscribed")

            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await list.pull()
            #expect(try await list.status(list.address("0")) == "subscribed", "the plan waits")
            let plan = try #require(first.plan)
            let version = try #require(try await Plans(pool: list.pool).list().first { $0.id == plan }).version
            _ = try await Plans(pool: list.pool).approve(plan: plan, version: version, actor: "test")
            try await list.quiet()
            for id in 0..<3 { #expect(try await list.status(list.address("\(id)")) == "archived") }
            let second = try await delete(list, .archive)
            #expect(second.isDone && second.left == 0)
            #expect(try await groups(list).isEmpty)
            #expect(try await list.status("vrij@post.koppeling.nl") == "subscribed")
        }
    }

    @Test("is refused while somebody may have been subscribed over a no: that is looked for first, and restored")
    func inDoubt() async throws {
        try await LinkedList.run(switches: .permissive) { list in
            try await list.quiet()
            try await list.hold(true)
            try await list.put("5")
            try await list.staged(1)
            let address = list.address("5")
            try await list.asContact("resubscribe", address, #"{"email_address": "\#(address)"}"#)
            try await list.asContact("unsubscribe", address)
            try await list.asAdmin("archive", address)
            // The worker dies after its call.
            try await list.intend("creating")
            try await list.unrecorded("PUT", address, #"{"email_address": "\#(address)", "status": "subscribed"}"#)
            let open = await #expect(throws: PostgresError.self) { _ = try await delete(list, .leave) }
            #expect(open?.message.contains("1 contacts of list") == true)

            try await list.hold(false)
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await list.pull()
            #expect(try await list.status(address) == "unsubscribed")
            #expect(try await delete(list, .leave).isDone)
        }
    }

    @Test("whose list is gone goes at once, with what Mailchimp cannot be told any more")
    func listGone() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.hold(true)
            let erasures = Erasures(pool: list.pool, vault: list.instances.vault)
            _ = try await erasures.erase(source: "test", id: "0", actor: "test")
            let open = await #expect(throws: PostgresError.self) { _ = try await delete(list, .leave) }
            #expect(open?.message.contains("1 erasures") == true)
            try await list.control("DELETE", "lists/\(list.list)")
            #expect(try await delete(list, .archive).isDone)
            struct Report: Decodable {
                struct Contact: Decodable { var outcome: String }
                var contacts: [Contact]
                var is_complete: Bool
            }
            let report: Report = try await erasures.erase(source: "test", id: "0", actor: "test").decode()
            #expect(report.is_complete && report.contacts.map(\.outcome) == ["listGone"])
        }
    }
}

extension LinkedList {
    /// The instance as it is now.
    func instance() async throws -> Instances.Instance { try await instances.find(instance.name) }
}
