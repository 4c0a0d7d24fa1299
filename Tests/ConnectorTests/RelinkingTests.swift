import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// An instance gets another list; nobody who said no to the old one is mailed through the new one.
@Suite("A link that gets another list", .database)
struct RelinkingTests {
    private func relink(_ list: LinkedList, to other: String) async throws -> Instances.Relinked {
        try await list.instances.setEnabled(false, instance: list.instance.name)
        var relinked: Instances.Relinked?
        try await eventually("nothing runs any more", within: .seconds(30)) {
            do {
                relinked = try await list.instances.relink(instance: list.instance.name, list: other, actor: "test")
            } catch let error as PostgresError where error.message.contains("still run") {}
            return relinked != nil
        }
        return try #require(relinked)
    }

    /// Turns the link on and lets everything happen that a person has to approve.
    private func approve(_ relinked: Instances.Relinked, _ list: LinkedList) async throws {
        try await list.instances.setEnabled(true, instance: list.instance.name)
        try await list.pull()
        let plan = try #require(relinked.plan)
        let plans = Plans(pool: list.pool)
        let version = try #require(try await plans.list().first { $0.id == plan }).version
        _ = try await plans.approve(plan: plan, version: version, actor: "test")
        try await list.quiet()
    }

    @Test(
        "because the old one was deleted changes no membership, and whoever said no there is not created in the new one"
    )
    func listDeleted() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            let other = try await list.addList("Opnieuw")
            try await list.control("DELETE", "lists/\(list.list)")
            try await list.instances.requestPull(instance: list.instance.name, full: false)
            try await eventually("it pauses and tells", within: .seconds(30)) {
                try await list.pool.query("select exists (select from koppeling.tasks where kind = 'listGone')")
                    .scalar(as: Bool.self)
            }
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.membership("1") == "active rule")
            let refused = await #expect(throws: ConnectorError.self) {
                _ = try await list.instances.relink(instance: list.instance.name, list: other.list, actor: "test")
            }
            #expect(refused?.message.contains("koppeling instance disable") == true)

            let relinked = try await relink(list, to: other.list)
            #expect(relinked.oldList == .gone)
            #expect(relinked.joins == 2)
            #expect(relinked.noes == 1)
            #expect(try await list.membership("1") == "active rule")
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await list.pull()
            #expect(try await other.status(list.address("1")) == nil, "its first plan waits")
            try await approve(relinked, list)
            #expect(try await other.status(list.address("0")) == nil)
            #expect(try await other.status(list.address("1")) == "subscribed")
            #expect(try await other.status(list.address("2")) == "subscribed")
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    @Test("hears the last noes of the old one: said since the last reading, in a hook, at a contact that moved there")
    func lastNoes() async throws {
        try await LinkedList.run(persons: 4) { list in
            try await list.quiet()
            try await list.asContact(
                "change-address", list.address("1"), #"{"email_address": "elders@post.koppeling.nl"}"#)
            try await list.pull()
            try await list.hold(true)
            try await list.instances.setEnabled(false, instance: list.instance.name)
            // Nobody claims the contact when he says no, and nobody holds the address at which he says it.
            try await list.put("1", isMember: false)
            try await eventually { try await list.membership("1") == "inactive ruleNoLongerMatches" }
            try await list.asContact("unsubscribe", "elders@post.koppeling.nl")
            try await list.asContact("unsubscribe", list.address("0"))
            let hook = """
                select koppeling.receive_webhook(\(list.instance.id), (
                    select webhook_secret_hash from koppeling.connector_instance), jsonb_build_object(
                    'type', 'unsubscribe', 'data', jsonb_build_object(
                        'action', 'unsub', 'reason', 'manual', 'email', '\(list.address("2"))')))
                """
            #expect(try await list.pool.query("\(unsafe: hook)").scalar(as: String.self) == "stored")
            let other = try await list.addList("Opnieuw")

            let relinked = try await relink(list, to: other.list)
            #expect(relinked.oldList == .read)
            #expect(relinked.left == 2, "3 and, as nobody has asked Mailchimp yet, 2")
            #expect(relinked.instance.id != list.instance.id)
            let late: String = try await list.pool.query(
                """
                select koppeling.receive_webhook(\(list.instance.id)::bigint, webhook_secret_hash, '{}')
                from koppeling.connector_instance
                """
            ).scalar()
            #expect(late == "unknown")
            try await list.put("1")
            try await list.quiet()
            try await approve(relinked, list)
            for id in ["0", "1", "2"] {
                #expect(try await list.membership(id) == "inactive unsubscribed")
                #expect(try await other.status(list.address(id)) == nil)
            }
            #expect(try await other.status("elders@post.koppeling.nl") == nil)
            #expect(try await other.status(list.address("3")) == "subscribed")
            #expect(try await list.status(list.address("3")) == "subscribed", "the old list stays as it is")
        }
    }

    @Test("is refused as long as Mailchimp was not told of a no, also when nothing waits to tell it")
    func untoldNo() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            let other = try await list.addList("Opnieuw")
            try await list.hold(true)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '1')")
            try await list.staged(1)
            try await list.pool.query("select koppeling.cancel_job(j.id) from koppeling.job j where j.kind = 'action'")
            try await list.hold(false)
            #expect(try await list.status(list.address("1")) == "subscribed")
            let refused = await #expect(throws: PostgresError.self) { _ = try await relink(list, to: other.list) }
            #expect(refused?.message.contains("1 unsubscribes") == true)
        }
    }

    @Test("tells Mailchimp of erasures and noes in the old one first, and refuses a list that another instance has")
    func refused() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            let other = try await list.addList("Opnieuw")
            let taken = try await list.addList("Bezet")
            _ = try await list.instances.link(
                account: try await list.accounts.find("Instituut"), list: taken.list, name: "Ander",
                emailKind: "zakelijk", actor: "test")
            for id in [taken.list, list.list] {
                let error = await #expect(throws: ConnectorError.self) { _ = try await relink(list, to: id) }
                #expect(error?.code == .alreadyLinked)
                #expect(error?.message.contains(id == list.list ? list.instance.name : "Ander") == true)
            }

            try await list.hold(true)
            _ = try await Erasures(pool: list.pool, vault: list.instances.vault)
                .erase(source: "test", id: "0", actor: "test")
            try await list.pool.query("select koppeling.unsubscribe_person('test', '1')")
            let open = await #expect(throws: PostgresError.self) { _ = try await relink(list, to: other.list) }
            #expect(open?.message.contains("1 erasures and 1 unsubscribes") == true)
            try await list.hold(false)
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await eventually("Mailchimp was told", within: .seconds(30)) {
                let erased = try await list.status(list.address("0"))
                let left = try await list.status(list.address("1"))
                return erased == nil && left == "unsubscribed"
            }
            try await list.quiet()
            let relinked = try await relink(list, to: other.list)
            #expect(relinked.joins == 1)
            try await approve(relinked, list)
            #expect(try await other.status(list.address("1")) == nil)
            #expect(try await other.status(list.address("2")) == "subscribed")
            let traces: JSONText = try await list.pool.query(
                "select koppeling.traces(array[\(list.address("0"))::text])"
            ).scalar()
            #expect(traces == "{}")
        }
    }
}

extension LinkedList {
    /// Makes another list in the account, which is not linked.
    func addList(_ name: String) async throws -> LinkedList {
        struct Made: Decodable { var id: String }
        let made: Made = try await control("POST", "lists", #"{"name": "\#(name)"}"#).decode()
        return LinkedList(
            pool: pool, instance: instance, instances: instances, accounts: accounts, list: made.id, http: http,
            port: port)
    }
}
