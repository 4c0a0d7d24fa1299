import Connector
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

/// What happens rarely, each as the specification numbers it in docs/domain.md.
@Suite("Edge cases of the link", .database)
struct EdgeCaseTests {
    @Test("a link that was off for a while sends the net difference: who came and went meanwhile is never sent")
    func offForAWhile() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.instances.setEnabled(false, instance: list.instance.name)
            try await list.put("5")
            try await list.put("6")
            try await list.put("1", isMember: false)
            try await eventually("they are members") { try await list.membership("6") == "active rule" }
            try await list.put("6", isMember: false)
            try await list.asContact("unsubscribe", list.address("0"))
            try await eventually("one has gone again") {
                try await list.membership("6") == "inactive ruleNoLongerMatches"
            }
            try await list.control("DELETE", "requests")
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await list.pull()
            #expect(try await list.status(list.address("5")) == "subscribed")
            #expect(try await list.contact(list.address("6")) == nil)
            #expect(try await list.status(list.address("1")) == "archived")
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    @Test("who signs up again himself is his own: he stays when the rule matches no more")
    func foreign() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            // Within one second the no would win.
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.asContact("resubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            let tasks: Int64 = try await list.pool.query(
                "select count(*) from koppeling.task where kind = 'resubscribed' and done_at is null"
            ).scalar()
            #expect(tasks == 1)
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("who signed up again himself is let back in by a user, and by nobody before")
    func readmitted() async throws {
        try await LinkedList.run(persons: 2) { list in
            func readmit(_ id: String) async throws {
                try await list.pool.query(
                    """
                    select koppeling.readmit_person('test', \(id), g.name, 'piet') from koppeling.target_group g
                    """)
            }
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.asAdmin("archive", list.address("1"))
            try await list.pull()
            let early = await #expect(throws: PostgresError.self) { try await readmit("0") }
            #expect(early?.message.contains("has not signed up again") == true)
            // Within one second the no would win.
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.asContact("resubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            // What was said at an address that others may hold too is not ended by her signing up at her own.
            try await list.pool.query(
                """
                select koppeling.open_suppression(g.id, 'unsubscribed', 'samen@post.koppeling.nl', null, '{}',
                    'mailchimp', koppeling.now() - interval '1 year', '{}')
                from koppeling.target_group g
                """)
            try await list.put("0", #"{"emails": {"prive": "samen@post.koppeling.nl"}}"#)
            let shared = await #expect(throws: PostgresError.self) { try await readmit("0") }
            #expect(shared?.message.contains("another address") == true)
            try await list.put("0", #"{"emails": {"prive": null}}"#)
            try await readmit("0")
            #expect(try await list.membership("0") == "active rule")
            let open: Int64 = try await list.pool.query(
                "select count(*) from koppeling.open_suppression where address_key = 'samen@post.koppeling.nl'"
            ).scalar()
            #expect(open == 1)
            try await list.put("0", #"{"given_name": "Piet"}"#)
            try await list.quiet()
            #expect(try await list.contact(list.address("0"))?.merge_fields["FNAME"] == "Piet", "adopted")
            let tasks: Int64 = try await list.pool.query("select count(*) from koppeling.task where done_at is null")
                .scalar()
            #expect(tasks == 0)

            #expect(try await list.membership("1") == "inactive removedInMailchimp")
            try await readmit("1")
            try await list.quiet()
            #expect(try await list.membership("1") == "active rule")
            #expect(try await list.status(list.address("1")) == "subscribed")
            await #expect(throws: PostgresError.self, "nothing keeps her out") { try await readmit("1") }
        }
    }

    @Test("who was let back in once is not taken back over a later archiving inside Mailchimp that found nobody there")
    func archivedAgain() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.instances.setAutomatic(false, template: "delete", instance: list.instance.name)
            try await list.quiet()
            try await list.asAdmin("archive", list.address("0"))
            try await list.pull()
            try await list.pool.query(
                "select koppeling.readmit_person('test', '0', g.name, 'piet') from koppeling.target_group g")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "subscribed")
            try await list.put("0", isMember: false)
            try await list.quiet()
            try await list.control("POST", "clock", #"{"advance": 60}"#)
            try await list.asAdmin("archive", list.address("0"))
            try await list.pull()
            try await list.put("0")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            #expect(try await list.membership("0") == "inactive removedInMailchimp")
        }
    }

    @Test("added by hand stays when the rule is lost; removed by hand stays out though a rule matches")
    func byHand() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.decide("include", "0")
            try await list.put("0", isMember: false)
            try await list.decide("exclude", "1")
            try await list.put("1", #"{"family_name": "Anders"}"#)
            try await list.quiet()
            #expect(try await list.membership("0") == "active manual")
            #expect(try await list.status(list.address("0")) == "subscribed")
            #expect(try await list.membership("1") == "inactive manual")
            #expect(try await list.status(list.address("1")) == "archived")
        }
    }

    @Test("an address that signed up to too many lists lately waits a day, then longer; it is not rejected")
    func tooManyLists() async throws {
        try await LinkedList.run { list in
            try await list.control("PUT", "throttled", #"{"addresses": ["\#(list.address("5"))"]}"#)
            try await list.put("5")
            for days in [1, 2, 3, 4, 5, 6, 7, 7] {
                try await eventually("it is put off by \(days) days") {
                    try await list.pool.query(
                        """
                        select exists (
                            select from koppeling.job
                            where kind = 'action' and run_at > koppeling.now()
                              and round(extract(epoch from run_at - koppeling.now()) / 86400)::int = \(Int32(days)))
                        """
                    ).scalar(as: Bool.self)
                }
                // As when those days have gone by.
                try await list.pool.query(
                    """
                    update koppeling.job
                    set enqueued_at = enqueued_at - make_interval(days => \(Int32(days))), run_at = koppeling.now()
                    where kind = 'action'
                    """)
                try await list.pool.query("select koppeling.resume(queue => 'instance-1')")
            }
            let rejected: Int64 = try await list.pool.query(
                "select count(*) from koppeling.job_history where kind = 'action' and outcome = 'rejected'"
            ).scalar()
            #expect(rejected == 0)
            try await list.control("PUT", "throttled", #"{"addresses": []}"#)
            try await eventually("the last one has been tried") {
                try await list.pool.query(
                    "update koppeling.job set run_at = koppeling.now() where kind = 'action' and state <> 'running'")
                return try await list.status(list.address("5")) == "subscribed"
            }
            try await list.quiet()
        }
    }

    @Test("the contact moves inside Mailchimp and says no there; the person file's next address is no way around it")
    func movedAndLeft() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let elsewhere = "elders@post.koppeling.nl"
            try await list.asContact("change-address", list.address("0"), #"{"email_address": "\#(elsewhere)"}"#)
            try await list.pull()
            try await list.put("0", #"{"family_name": "Anders"}"#)
            try await list.quiet()
            #expect(try await list.contact(elsewhere)?.merge_fields["LNAME"] == "Anders", "the claim follows")
            #expect(try await list.contact(list.address("0")) == nil)
            try await list.asContact("unsubscribe", elsewhere)
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await list.put("0", #"{"emails": {"zakelijk": "derde@post.koppeling.nl"}}"#)
            try await list.pull(full: true)
            #expect(try await list.contact("derde@post.koppeling.nl") == nil)
            #expect(try await list.status(elsewhere) == "unsubscribed")
        }
    }

    @Test("an instance that paused itself creates nobody; who leaves is archived, and who says no is unsubscribed")
    func paused() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set paused_reason = 'te veel afgekeurd'")
            try await list.put("7")
            try await list.put("0", isMember: false)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '1')")
            try await list.asContact("unsubscribe", list.address("2"))
            try await list.instances.requestPull(instance: list.instance.name, full: false)
            try await eventually("who left is gone") {
                try await list.contact(list.address("0"))?.status == "archived"
            }
            try await eventually("the no has arrived") {
                try await list.contact(list.address("1"))?.status == "unsubscribed"
            }
            try await eventually("the other no is known") {
                try await list.membership("2") == "inactive unsubscribed"
            }
            #expect(try await list.contact(list.address("7")) == nil)
        }
    }

    @Test("a list that is linked already is refused, with the name of the instance that has it")
    func linkedTwice() async throws {
        try await LinkedList.run { list in
            let account = try await list.accounts.find("Instituut")
            let error = await #expect(throws: ConnectorError.self) {
                _ = try await list.instances.link(
                    account: account, list: list.list, name: "Nog een", emailKind: "zakelijk", actor: "test")
            }
            #expect(String(describing: error).contains(list.instance.name))
        }
    }

    @Test(
        "an account that Mailchimp blocks, or that is full, pauses the instance, and nobody is rejected for it",
        arguments: ["compliance", "contact_limit"])
    func blockedAccount(effect: String) async throws {
        try await LinkedList.run { list in
            try await list.control("POST", "faults", #"{"effect": "\#(effect)", "match": {"method": "POST"}}"#)
            for id in 5..<8 { try await list.put("\(id)") }
            try await eventually("it pauses and says why") {
                try await list.pool.query("select paused_reason is not null from koppeling.connector_instance")
                    .scalar(as: Bool.self)
            }
            let rejected: Int64 = try await list.pool.query(
                "select count(*) from koppeling.job_history where kind = 'action' and outcome = 'rejected'"
            ).scalar()
            #expect(rejected == 0)
            try await list.control("DELETE", "faults")
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await list.quiet()
            // A repeat that waits longer than the moment is no matter.
            try await list.pool.query(
                "update koppeling.job set run_at = koppeling.now() where kind = 'action' and state <> 'running'")
            try await list.quiet()
            for id in 5..<8 { #expect(try await list.status(list.address("\(id)")) == "subscribed") }
        }
    }

    @Test("of two holders of an address the no of one at another address keeps the other from being created there")
    func suppressedHolder() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            let shared = "samen@post.koppeling.nl"
            try await list.put("0", #"{"emails": {"zakelijk": "\#(shared)"}}"#)
            try await list.put("5", #"{"emails": {"zakelijk": "\#(shared)"}}"#)
            try await list.quiet()
            try await list.pull(full: true)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.contact(shared) == nil)
        }
    }

    @Test("who left by a rule and is back when the rules are is taken back, the same contact, because we archived it")
    func rulesBack() async throws {
        try await LinkedList.run(persons: 12) { list in
            try await list.quiet()
            let before = try #require(try await list.contact(list.address("3")))
            let rules = try await list.pool.query(
                """
                select g.id, g.rules_version, koppeling.rules_json(g.id) as rules
                from koppeling.target_group g
                """)
            let group: Int64 = try rules[0].decode("id")
            func save(_ text: JSONText) async throws {
                try await list.pool.query(
                    """
                    select koppeling.save_rules(g.id, g.rules_version, \(text)::jsonb, true, 'test')
                    from koppeling.target_group g where g.id = \(group)::bigint
                    """)
                try await list.quiet()
            }
            try await save("[]")
            for id in 0..<12 { #expect(try await list.status(list.address("\(id)")) == "archived") }
            try await save(try rules[0].decode("rules"))
            for id in 0..<12 { #expect(try await list.status(list.address("\(id)")) == "subscribed") }
            #expect(try await list.contact(list.address("3"))?.contact_id == before.contact_id)
        }
    }

    @Test("with the key revoked actions wait, nobody is rejected, and a hook's no counts")
    func revoked() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let account: String = try await list.pool.query("select account_id from koppeling.mailchimp_account")
                .scalar()
            try await list.control(
                "PATCH", "accounts/\(account)", #"{"revoke_key": "\#(SandboxConfiguration().key)"}"#)
            try await list.put("5")
            try await eventually("the sign is red") {
                try await !list.pool.query("select authenticated from koppeling.mailchimp_account").scalar(
                    as: Bool.self)
            }
            let stored: String = try await list.pool.query(
                """
                select koppeling.receive_webhook(i.id, i.webhook_secret_hash, jsonb_build_object(
                    'type', 'unsubscribe', 'data', jsonb_build_object(
                        'action', 'unsub', 'reason', 'manual', 'email', \(list.address("0"))::text)))
                from koppeling.connector_instance i
                """
            ).scalar()
            #expect(stored == "stored")
            try await eventually("the no counts") { try await list.membership("0") == "inactive unsubscribed" }
            let (waiting, tasks, rejected) = try await list.pool.query(
                """
                select (select count(*) from koppeling.job where kind = 'action') as waiting,
                       (select count(*) from koppeling.task where kind = 'credentialRevoked' and done_at is null) as tasks,
                       (select count(*) from koppeling.job_history where kind = 'action' and outcome = 'rejected')
                           as rejected
                """
            ).map { row in
                (
                    try row.decode("waiting", as: Int64.self), try row.decode("tasks", as: Int64.self),
                    try row.decode("rejected", as: Int64.self)
                )
            }[0]
            #expect(waiting > 0)
            #expect(tasks == 1)
            #expect(rejected == 0)
        }
    }
}
