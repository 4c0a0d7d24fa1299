import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What was said to one list of a deployment, and when it counts for another.
@Suite("A no that was said to another list", .database)
struct CarriedNoesTests {
    /// Links another list and gives its group the rule of the first.
    private func link(_ other: LinkedList, carries: Bool = true) async throws -> Instances.Instance {
        let instance = try await other.instances.link(
            account: try await other.accounts.find("Instituut"), list: other.list, name: "Tweede",
            emailKind: "zakelijk", carriesNoes: carries, actor: "test")
        try await other.pool.query(
            """
            select koppeling.save_rules(i.target_group_id, 1, koppeling.rules_json(f.target_group_id), true, 'test')
            from koppeling.connector_instance i, koppeling.connector_instance f
            where i.id = \(instance.id)::bigint and f.id = \(other.instance.id)::bigint
            """)
        return instance
    }

    private func activate(_ instance: Instances.Instance, _ list: LinkedList) async throws {
        try await list.instances.setEnabled(true, instance: instance.name)
        let plans = Plans(pool: list.pool)
        let plan = try #require(try await plans.list().first { $0.state == "held" })
        _ = try await plans.approve(plan: plan.id, version: plan.version, actor: "test")
        try await eventually("both were read and written", within: .seconds(30)) {
            try await list.pool.query(
                "select bool_and(last_pull_at is not null) from koppeling.connector_instance"
            ).scalar()
        }
        try await list.quiet()
    }

    @Test("by a user for a person, and not for one group, bars from every list that is linked later, also uncarried")
    func saidToAll() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            let other = try await list.addList("Tweede")
            let contact = #"{"email_address": "\#(list.address("0"))"}"#
            // Before the no: whoever opts in after it has the last word.
            try await other.control("POST", "lists/\(other.list)/contacts", contact)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            try await activate(try await link(other, carries: false), list)
            #expect(try await other.status(list.address("0")) == "unsubscribed", "Mailchimp is told")
            #expect(try await other.status(list.address("1")) == "subscribed")
        }
    }

    @Test("bars from a list that is linked later, unless that is declined", arguments: [true, false])
    func carried(carries: Bool) async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            // At an address that nobody holds yet.
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "vroeg@post.koppeling.nl"}"#)
            try await list.asContact("unsubscribe", "vroeg@post.koppeling.nl")
            try await list.pull(full: true)
            let other = try await list.addList("Tweede")
            let instance = try await link(other, carries: carries)
            try await activate(instance, list)
            try await list.put("5", #"{"emails": {"zakelijk": "vroeg@post.koppeling.nl"}}"#)
            try await list.quiet()
            for address in [list.address("0"), "vroeg@post.koppeling.nl"] {
                #expect(try await other.status(address) == (carries ? nil : "subscribed"))
                #expect(try await list.status(address) == "unsubscribed")
            }
            #expect(try await other.status(list.address("1")) == "subscribed")
            let from: Int64 = try await list.pool.query(
                """
                select count(*) from koppeling.suppression s
                join koppeling.connector_instance i on i.target_group_id = s.target_group_id
                where i.id = \(instance.id)::bigint
                  and (s.detail ->> 'carried')::bigint in (select o.target_group_id from koppeling.connector_instance o)
                """
            ).scalar()
            #expect((from > 0) == carries, "it says where it comes from")
        }
    }

    @Test("binds at once in every list where the deployment is set so, also what was open before")
    func allLists() async throws {
        try await LinkedList.run(persons: 4) { list in
            try await list.quiet()
            let other = try await list.addList("Tweede")
            let instance = try await link(other)
            try await activate(instance, list)
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            #expect(try await other.status(list.address("0")) == "subscribed", "each list for itself")

            #expect(try await list.accounts.deployment.applyNoesToAllLists(true, actor: "test") > 0)
            try await list.quiet()
            #expect(try await other.status(list.address("0")) == "archived")
            try await list.asContact("unsubscribe", list.address("1"))
            try await list.pull()
            #expect(try await other.status(list.address("1")) == "archived")
            // A user's word for one list is told to both.
            try await list.pool.query(
                "select koppeling.unsubscribe_person('test', '2', \(list.instance.targetGroup)::text)")
            try await list.quiet()
            #expect(try await list.status(list.address("2")) == "unsubscribed")
            #expect(try await other.status(list.address("2")) == "unsubscribed")

            _ = try await list.accounts.deployment.applyNoesToAllLists(false, actor: "test")
            try await list.asContact("unsubscribe", list.address("3"))
            try await list.pull()
            #expect(try await other.status(list.address("3")) == "subscribed")
            #expect(try await other.status(list.address("0")) == "archived", "what was carried stays")
        }
    }

    @Test(
        "by a user for one list is told to every list where the deployment is set so, also where nobody claims her",
        arguments: [true, false])
    func toldToAllLists(isSetBefore: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let other = try await list.addList("Tweede")
            let contact = #"{"email_address": "\#(list.address("0"))"}"#
            try await other.control("POST", "lists/\(other.list)/contacts", contact)
            // Without a rule: nobody is in its group.
            let instance = try await other.instances.link(
                account: try await other.accounts.find("Instituut"), list: other.list, name: "Tweede",
                emailKind: "zakelijk", carriesNoes: false, actor: "test")
            try await list.pool.query(
                "update koppeling.connector_instance set activated = true where id = \(instance.id)::bigint")
            try await list.instances.setEnabled(true, instance: instance.name)
            try await eventually("both were read") {
                try await list.pool.query(
                    "select bool_and(last_pull_at is not null) from koppeling.connector_instance"
                ).scalar()
            }
            if isSetBefore { _ = try await list.accounts.deployment.applyNoesToAllLists(true, actor: "test") }
            try await list.pool.query(
                "select koppeling.unsubscribe_person('test', '0', \(list.instance.targetGroup)::text)")
            try await list.quiet()
            if !isSetBefore {
                #expect(try await other.status(list.address("0")) == "subscribed", "each list for itself")
                // What was said of an address holds there, whoever has it by now.
                try await list.put("0", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
                _ = try await list.accounts.deployment.applyNoesToAllLists(true, actor: "test")
                try await list.quiet()
            }
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await other.status(list.address("0")) == "unsubscribed")
            let untold: Int64 = try await list.pool.query(
                "select sum(koppeling.untold_noes(i.id))::bigint from koppeling.connector_instance i"
            ).scalar()
            #expect(untold == 0, "either link can be ended")
        }
    }

    @Test("that is linked no more binds in every list where the deployment is set so", arguments: [true, false])
    func formerLinks(isSetBefore: Bool) async throws {
        try await LinkedList.run(persons: 2) { list in
            func applyToAll() async throws {
                _ = try await list.accounts.deployment.applyNoesToAllLists(true, actor: "test")
            }
            try await list.quiet()
            if isSetBefore { try await applyToAll() }
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await list.instances.setEnabled(false, instance: list.instance.name)
            _ = try await list.instances.deleteGroup(of: list.instance, contacts: .leave, actor: "test")
            let other = try await list.addList("Tweede")
            let instance = try await other.instances.link(
                account: try await other.accounts.find("Instituut"), list: other.list, name: "Tweede",
                emailKind: "zakelijk", carriesNoes: false, actor: "test")
            try await other.saveRules(#"[[{"kind": "personCategory", "value": "\#(LinkedList.category)"}]]"#)
            try await activate(instance, other)
            if !isSetBefore {
                #expect(try await other.status(list.address("0")) == "subscribed", "each list for itself")
                try await applyToAll()
                try await other.quiet()
            }
            #expect(try await other.status(list.address("0")) == (isSetBefore ? nil : "archived"))
            #expect(try await other.status(list.address("1")) == "subscribed")
        }
    }

    @Test("by having been erased bars the address from a list that is linked later, whoever holds it then")
    func erasedBefore() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            _ = try await Erasures(pool: list.pool, vault: list.instances.vault)
                .erase(source: "test", id: "0", actor: "test")
            try await list.quiet()
            try await list.put("6", #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.quiet()
            #expect(try await list.membership("6") == "inactive forgotten")
            let other = try await list.addList("Tweede")
            // Not by what the first list says.
            let instance = try await link(other, carries: false)
            try await eventually("the ledger was looked at") {
                try await list.pool.query(
                    """
                    select m.status || m.reasons[1] from koppeling.membership m
                    join koppeling.connector_instance i on i.target_group_id = m.target_group_id
                    where i.id = \(instance.id)::bigint
                    """
                ).first?.decode(0, as: String?.self) == "inactiveforgotten"
            }
        }
    }
}
