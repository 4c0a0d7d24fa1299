import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Noes that hold in every list, said after one before them was taken back, or while a list is being linked.
@Suite("A later no that holds in every list", .database)
struct LaterNoTests {
    @Test("binds whoever was back in one of them, although the one before still stands in the other")
    func afterConfirming() async throws {
        try await LinkedList.runTwo { list in
            try await list.applyToAll()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.memberships() == ["inactive unsubscribed", "inactive unsubscribed"])
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.request()
            try await list.quiet()
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.memberships() == ["active rule", "inactive unsubscribed"])

            try await list.sayNoToSecond()
            try await list.quiet()
            #expect(try await list.memberships() == ["inactive unsubscribed", "inactive unsubscribed"])
            #expect(try await list.status(list.address("0")) == "archived")
        }
    }

    @Test(
        "ends an invitation that waits, also when it holds in every list only from then on", arguments: [true, false])
    func whileInvited(isSetBefore: Bool) async throws {
        try await LinkedList.runTwo { list in
            if isSetBefore { try await list.applyToAll() }
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await list.hold(true)
            try await list.request()
            try await list.sayNoToSecond()
            if !isSetBefore { try await list.applyToAll() }
            try await eventually("the invitation is over") {
                try await list.pool.query("select state from koppeling.invitations").scalar(as: String.self)
                    == "declined"
            }
            #expect(try await list.beginsInvitation() == false)
        }
    }

    @Test("keeps an invitation back before it has got to the list")
    func onItsWay() async throws {
        try await LinkedList.runTwo { list in
            try await list.applyToAll()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await list.hold(true)
            try await list.request()
            #expect(try await list.waitingFor() == 0)
            try await list.pool.query("select koppeling.pause(queue => 'default')")
            try await list.sayNoToSecond()
            #expect(try await list.waitingFor() == 1)
            #expect(try await list.beginsInvitation() == false)
        }
    }

    @Test("gets to a list that is being linked when it is said, or when the setting is made", arguments: [true, false])
    func whileLinking(isSetBefore: Bool) async throws {
        try await LinkedList.runTwo { list in
            if isSetBefore { try await list.applyToAll() } else { try await list.sayNoToSecond() }
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                try await list.pool.transaction { connection in
                    try await connection.query(
                        """
                        with made as (
                            insert into koppeling.target_group (name, email_kind, linked)
                            values ('Mailchimp - Derde', 'zakelijk', true) returning id
                        ), linked as (
                            insert into koppeling.connector_instance (
                                account_id, name, list_id, list_name, target_group_id, webhook_secret_hash,
                                webhook_secret)
                            select i.account_id, 'Derde', 'derde', 'Derde', made.id, i.webhook_secret_hash,
                                i.webhook_secret
                            from made, koppeling.connector_instance i where i.id = 1
                        )
                        select set_config('test.linked', id::text, true) from made
                        """)
                    try await connection.query(
                        """
                        select koppeling.begin_consent(
                            current_setting('test.linked')::bigint, i.account_id, 'derde', false, 'test')
                        from koppeling.connector_instance i where i.id = 1
                        """)
                    tasks.addTask {
                        if isSetBefore { try await list.sayNoToSecond() } else { try await list.applyToAll() }
                    }
                    try await eventually("it waits, or has happened without the new list") {
                        try await list.pool.query(
                            """
                            select exists (select from pg_locks l join pg_database d on d.oid = l.database or
                                    l.locktype = 'transactionid'
                                where not l.granted and d.datname = current_database())
                                or exists (select from koppeling.suppression s where s.detail ? 'carried')
                            """
                        ).scalar()
                    }
                }
                try await tasks.waitForAll()
            }
            try await eventually("it holds in the new list") {
                try await list.pool.query(
                    """
                    select exists (
                        select from koppeling.open_suppression s
                        join koppeling.target_group g on g.id = s.target_group_id
                        where g.name = 'Mailchimp - Derde' and s.person_id is not null)
                    """
                ).scalar()
            }
        }
    }
}

extension LinkedList {
    /// Runs the body with a second list that is linked and active and has the rule of the first.
    fileprivate static func runTwo(_ body: @Sendable (LinkedList) async throws -> Void) async throws {
        try await run(persons: 1) { list in
            try await list.quiet()
            let other = try await list.addList("Tweede")
            let instance = try await other.instances.link(
                account: try await other.accounts.find("Instituut"), list: other.list, name: "Tweede",
                emailKind: "zakelijk", carriesNoes: false, actor: "test")
            try await list.pool.query(
                """
                select koppeling.save_rules(i.target_group_id, 1, koppeling.rules_json(f.target_group_id), true, 'test')
                from koppeling.connector_instance i, koppeling.connector_instance f
                where i.id = \(instance.id)::bigint and f.id = \(list.instance.id)::bigint
                """)
            try await list.pool.query(
                "update koppeling.connector_instance set activated = true where id = \(instance.id)::bigint")
            try await list.quiet()
            try await body(list)
        }
    }

    fileprivate func applyToAll() async throws {
        _ = try await accounts.deployment.applyNoesToAllLists(true, actor: "test")
    }

    fileprivate func request() async throws {
        try await pool.query(
            "select koppeling.invite_person('test', '0', \(instance.targetGroup)::text, 'test')")
    }

    fileprivate func sayNoToSecond() async throws {
        try await pool.query(
            """
            select koppeling.open_suppression(i.target_group_id, 'unsubscribed', \(address("0"))::text, 'second', '{}',
                'mailchimp', koppeling.now(), '{}')
            from koppeling.connector_instance i where i.name = 'Tweede'
            """)
    }

    /// What the person is in either group.
    fileprivate func memberships() async throws -> [String] {
        try await pool.query(
            """
            select status || ' ' || coalesce(via, reasons[1]) from koppeling.membership order by target_group_id
            """
        ).map { try $0.decode(0) }
    }

    fileprivate func beginsInvitation() async throws -> Bool {
        try await pool.query("select koppeling.begin_invitation(member_id) from koppeling.invitation").scalar()
    }

    fileprivate func waitingFor() async throws -> Int64 {
        try await pool.query("select koppeling.invitation_waits_for(member_id) from koppeling.invitation").scalar()
    }
}
