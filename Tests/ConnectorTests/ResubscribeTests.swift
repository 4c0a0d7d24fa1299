import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// The instance setting by which signing up again in Mailchimp does what else only a user does.
@Suite("Whoever signs up again, where the instance lets in by that,", .database)
struct ResubscribeTests {
    private func turn(_ isOn: Bool, _ list: LinkedList) async throws {
        try await list.instances.set(.reactivateOnResubscribe, to: isOn, instance: list.instance.name, actor: "test")
    }

    /// The contact signs up again some time later, and Mailchimp is read.
    private func resubscribe(_ id: String, _ list: LinkedList, after seconds: Int = 2) async throws {
        // Within one second the no would win.
        try await list.control("POST", "clock", #"{"advance": \#(seconds)}"#)
        try await list.asContact("resubscribe", list.address(id))
        try await list.pull()
    }

    private func tasks(_ list: LinkedList) async throws -> Int64 {
        try await list.pool.query(
            "select count(*) from koppeling.task where kind = 'resubscribed' and done_at is null"
        ).scalar()
    }

    /// Has a hook come in as Mailchimp delivers it, and what follows happen.
    private func hook(_ type: String, _ address: String, _ list: LinkedList, data: String = "{}") async throws {
        try await list.pool.query(
            """
            select koppeling.receive_webhook(i.id, i.webhook_secret_hash, jsonb_build_object(
                'type', \(type), 'data', jsonb_build_object('email', \(address)) || \(JSONText(data))))
            from koppeling.connector_instance i
            """)
        try await list.quiet()
    }

    @Test("is a member again at once, as audited; says no again and is out again; old hooks change nothing")
    func letIn() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await resubscribe("0", list)
            #expect(try await list.membership("0") == "inactive unsubscribed", "it is off at first")
            #expect(try await tasks(list) == 1)
            try await turn(true, list)
            try await list.pull(full: true)
            #expect(try await list.membership("0") == "inactive unsubscribed", "what a task tells of is the user's")

            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await resubscribe("0", list)
            #expect(try await list.membership("0") == "active rule")
            #expect(try await tasks(list) == 0)
            let audited: String = try await list.pool.query(
                "select actor || ': ' || cause from koppeling.audit_entry where kind = 'readmitted'"
            ).scalar()
            #expect(audited == "connector: the contact signed up again in Mailchimp")
            try await list.put("0", #"{"given_name": "Piet"}"#)
            try await list.quiet()
            #expect(try await list.contact(list.address("0"))?.merge_fields["FNAME"] == "Piet", "adopted")

            // Later than the opting in: Mailchimp's seconds are whole ones.
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            for _ in 1...2 { try await hook("subscribe", list.address("0"), list) }
            try await list.pull(full: true)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await tasks(list) == 0)

            try await list.asContact("unsubscribe", list.address("1"))
            try await list.pull()
            try await turn(false, list)
            try await resubscribe("1", list)
            #expect(try await list.membership("1") == "inactive unsubscribed")
            #expect(try await tasks(list) == 1)
        }
    }

    @Test("stays out after a complaint, and after a no that a user recorded since")
    func complained() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await turn(true, list)
            try await list.asContact("complain", list.address("0"))
            let abuse = #"{"action": "unsub", "reason": "abuse"}"#
            try await hook("unsubscribe", list.address("0"), list, data: abuse)
            #expect(try await list.membership("0") == "inactive complained")
            try await resubscribe("0", list, after: 600)
            #expect(try await list.status(list.address("0")) == "subscribed")
            #expect(try await list.membership("0") == "inactive complained")
            #expect(try await tasks(list) == 1)

            // What a user records goes by our clock, which Mailchimp's may be ahead of: here by ten minutes already.
            try await list.pool.query("select koppeling.unsubscribe_person('test', '1')")
            try await list.quiet()
            #expect(try await list.status(list.address("1")) == "unsubscribed")
            try await list.pool.query(
                """
                select koppeling.open_suppression(i.target_group_id, 'unsubscribed', \(list.address("1")), null, '{}',
                    'user', koppeling.now() + interval '12 minutes', '{}')
                from koppeling.connector_instance i
                """)
            try await resubscribe("1", list, after: 240)
            #expect(try await list.membership("1") == "inactive unsubscribed")
            #expect(try await tasks(list) == 2)

            try await list.pool.query("select koppeling.unsubscribe_person('test', '2')")
            try await list.quiet()
            try await resubscribe("2", list, after: 600)
            #expect(try await list.membership("2") == "active rule")
            #expect(try await list.status(list.address("2")) == "subscribed")
        }
    }

    @Test("stays out when the last word was a no at another address, and is not let in by a user either")
    func saidElsewhere() async throws {
        try await LinkedList.run(persons: 1) { list in
            let (here, elsewhere) = (list.address("0"), "elders@post.koppeling.nl")
            func later() async throws { try await list.control("POST", "clock", #"{"advance": 600}"#) }
            try await list.quiet()
            try await turn(true, list)
            try await list.asContact("unsubscribe", here)
            try await list.pull()
            try await list.put("0", #"{"emails": {"zakelijk": "\#(elsewhere)"}}"#)
            try await list.control("POST", "lists/\(list.list)/contacts", #"{"email_address": "\#(elsewhere)"}"#)
            try await list.pull()
            try await later()
            // Nothing tells of this before her address is the old one again.
            try await list.asContact("resubscribe", here)
            try await later()
            try await list.asContact("unsubscribe", elsewhere)
            try await hook("unsubscribe", elsewhere, list, data: #"{"action": "unsub", "reason": "manual"}"#)
            try await list.put("0")
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await tasks(list) == 1)
            let refused = await #expect(throws: PostgresError.self) {
                try await list.pool.query(
                    "select koppeling.readmit_person('test', '0', \(list.instance.targetGroup)::text)")
            }
            #expect(refused?.message.contains("has not signed up again in Mailchimp since") == true)
        }
    }

    @Test("ends no no at another address that she has, and lets everybody in who shares the address")
    func others() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.put("8", #"{"emails": {"zakelijk": "\#(list.address("1"))"}}"#)
            try await list.quiet()
            try await turn(true, list)
            try await list.pool.query(
                """
                select koppeling.open_suppression(i.target_group_id, 'unsubscribed', 'samen@post.koppeling.nl', null,
                    '{}', 'mailchimp', koppeling.now() - interval '1 year', '{}')
                from koppeling.connector_instance i
                """)
            try await list.put("0", #"{"emails": {"prive": "samen@post.koppeling.nl"}}"#)
            for id in ["0", "1"] { try await list.asContact("unsubscribe", list.address(id)) }
            try await list.pull()
            try await resubscribe("0", list)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await tasks(list) == 1)
            try await resubscribe("1", list)
            #expect(try await list.membership("1") == "active rule")
            #expect(try await list.membership("8") == "active rule")
            let open: Int64 = try await list.pool.query(
                "select count(*) from koppeling.open_suppression where address_key = 'samen@post.koppeling.nl'"
            ).scalar()
            #expect(open == 1)
        }
    }
}
