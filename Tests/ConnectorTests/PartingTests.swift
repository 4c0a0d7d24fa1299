import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What is said in a list between the last reading of it and the end of its link is heard all the same.
@Suite("A no that is said while a link ends", .database)
struct PartingTests {
    /// Reads the list, as the commands do before they end a link, turns it off, and waits until nothing of it runs.
    private func turnOff(_ list: LinkedList) async throws {
        try await list.quiet()
        try await list.pull()
        try await list.instances.setEnabled(false, instance: list.instance.name)
        try await eventually("nothing runs any more", within: .seconds(30)) {
            try await list.pool.query("select not exists (select from koppeling.job where state = 'running')").scalar()
        }
    }

    /// Ends the link as the commands do in the database: the group is deleted, or gets another list.
    private func end(_ list: LinkedList, relinkingTo other: LinkedList?) async throws {
        guard let other else {
            try await list.pool.query(
                "select koppeling.delete_linked_group(\(list.instance.id)::bigint, false, false, 'test')")
            return
        }
        try await list.pool.query(
            """
            select koppeling.relink_instance(i.id, i.account_id, \(other.list)::text, 'Opnieuw', '[]',
                sha256('s'), 's', false, 'test')
            from koppeling.connector_instance i
            where i.id = \(list.instance.id)::bigint
            """)
    }

    /// The addresses at which a no is open in the ledger of the group that was linked first.
    private func barred(_ list: LinkedList) async throws -> [String] {
        try await list.pool.query(
            """
            select distinct s.address_key
            from koppeling.open_suppression s
            join koppeling.former_link f on f.target_group_id = s.target_group_id
            where s.address_key is not null and s.reason = 'unsubscribed'
            order by 1
            """
        ).map { try $0.decode("address_key") }
    }

    /// What is still to be looked at is, now.
    private func lookAgain(_ list: LinkedList) async throws {
        try await list.pool.execute(
            "update koppeling.job set run_at = koppeling.now() where kind = 'link.look'")
        try await list.quiet()
    }

    private func looksDue(_ list: LinkedList) async throws -> Int64 {
        try await list.pool.query("select count(*) from koppeling.former_link where looked_at is null").scalar()
    }

    @Test("after the last reading is found, and binds whoever the contact stood for", arguments: [true, false])
    func betweenReadingAndEnd(relinks: Bool) async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            try await list.asContact(
                "change-address", list.address("1"), #"{"email_address": "elders@post.koppeling.nl"}"#)
            try await list.pull()
            try await turnOff(list)
            let other = relinks ? try await list.addList("Opnieuw") : nil
            _ = try await list.instances.part(from: list.instance(), acceptsUnread: false) { _ in
                try await list.asContact("unsubscribe", list.address("0"))
                try await list.asContact("unsubscribe", "elders@post.koppeling.nl")
                try await end(list, relinkingTo: other)
            }
            #expect(try await barred(list) == ["elders@post.koppeling.nl", list.address("0")])
            if relinks {
                #expect(try await list.membership("0") == "inactive unsubscribed")
                #expect(try await list.membership("1") == "inactive unsubscribed")
                #expect(try await list.membership("2") == "active rule")
            }
            #expect(try await looksDue(list) == 1, "once more, for what Mailchimp shows late")
            try await lookAgain(list)
            #expect(try await looksDue(list) == 0)
            let entries: Int64 = try await list.pool.query(
                "select count(*) from koppeling.suppression where address_key = \(list.address("0"))"
            ).scalar()
            #expect(entries == 1)
        }
    }

    @Test("is found although the process died right after the end, and the list cannot be read at first")
    func afterACrash() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await turnOff(list)
            let other = try await list.addList("Opnieuw")
            try await end(list, relinkingTo: other)
            try await list.asContact("unsubscribe", list.address("0"))
            #expect(try await list.membership("0") == "active rule")
            try await list.control("POST", "faults", #"{"effect": "500", "match": {"list": "\#(list.list)"}}"#)
            try await lookAgain(list)
            #expect(try await list.membership("0") == "active rule")
            #expect(try await looksDue(list) == 1)
            try await list.control("DELETE", "faults")
            try await lookAgain(list)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.membership("1") == "active rule")
            #expect(try await looksDue(list) == 0)
        }
    }

    @Test("and a list that is linked no more: who is erased later is told to be looked for there, unless it is gone")
    func erasedLater() async throws {
        struct Report: Decodable {
            struct List: Decodable, Equatable { var account: String?, list: String, list_id: String, group: String }
            var lists_not_reached: [List]
        }
        try await LinkedList.run(persons: 3) { list in
            func erase(_ id: String) async throws -> [Report.List] {
                try await Erasures(pool: list.pool, vault: list.instances.vault)
                    .erase(source: "test", id: id, actor: "test").decode(Report.self).lists_not_reached
            }
            try await turnOff(list)
            #expect(try await erase("2") == [])
            try await list.quiet()
            try await eventually("the contact is gone", within: .seconds(30)) {
                try await list.status(list.address("2")) == nil
            }
            try await turnOff(list)
            try await end(list, relinkingTo: try await list.addList("Opnieuw"))
            #expect(
                try await erase("0") == [
                    .init(
                        account: "Instituut", list: "Nieuwsbrief", list_id: list.list,
                        group: "Mailchimp - Nieuwsbrief")
                ])
            #expect(try await erase("2") == [], "it was linked then")
            try await list.control("DELETE", "lists/\(list.list)")
            try await lookAgain(list)
            #expect(try await erase("1") == [])
        }
    }

    @Test("and comes by a hook counts, or finds the link gone: it never fails", arguments: [true, false])
    func byAHook(isFirst: Bool) async throws {
        try await LinkedList.run(persons: 2) { list in
            try await turnOff(list)
            // Nobody works on the hook before the end.
            try await list.hold(true)
            let instance = list.instance.id
            @Sendable func hook(on connection: Connection) async throws -> String {
                try await connection.query(
                    """
                    select koppeling.receive_webhook(i.id, i.webhook_secret_hash, jsonb_build_object(
                        'type', 'unsubscribe', 'data', jsonb_build_object(
                            'action', 'unsub', 'reason', 'manual', 'email', \(list.address("0")))))
                    from koppeling.connector_instance i
                    where i.id = \(instance)::bigint
                    """
                ).scalar()
            }
            try await list.pool.withConnection { first in
                try await first.query("begin")
                if isFirst {
                    #expect(try await hook(on: first) == "stored")
                    async let ended: Void = end(list, relinkingTo: nil)
                    try await first.waitUntilWaitedFor()
                    try await first.query("commit")
                    try await ended
                } else {
                    try await first.query(
                        "select koppeling.delete_linked_group(\(instance)::bigint, false, false, 'test')")
                    async let told = list.pool.withConnection { try await hook(on: $0) }
                    try await first.waitUntilWaitedFor()
                    try await first.query("commit")
                    #expect(try await told == "unknown")
                }
            }
            #expect(try await barred(list) == (isFirst ? [list.address("0")] : []))
        }
    }
}
