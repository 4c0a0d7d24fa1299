import Connector
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

/// The database is that of a week ago, and Mailchimp has gone on.
@Suite("A backup of last week", .database)
struct RestoredBackupTests {
    @Test("catches up before it sends anything: what was said and done meanwhile is found in Mailchimp")
    func lastWeek() async throws {
        try await LinkedList.run(persons: 4) { list in
            try await list.quiet()
            try await backUp(list)
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.put("1", isMember: false)
            try await list.put("2", #"{"emails": {"zakelijk": "anders@post.koppeling.nl"}}"#)
            try await list.put("5")
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("1")) == "archived")
            #expect(try await list.status("anders@post.koppeling.nl") == "subscribed")
            #expect(try await list.status(list.address("5")) == "subscribed")

            try await list.hold(true)
            try await restore(list)
            #expect(try await list.membership("0") == "active rule", "nothing of it is known any more")
            try await list.control("DELETE", "requests")
            try await list.put("6")
            // As an administration would: its persons are sent again in one go.
            try await list.put("0", #"{"given_name": "Piet"}"#)
            try await list.hold(false)
            try await eventually("who is new is created, after a pull", within: .seconds(30)) {
                try await list.status(list.address("6")) == "subscribed"
            }
            try await list.pull(full: true)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.contact(list.address("0"))?.merge_fields["FNAME"] == "Jan", "nothing was written")
            #expect(
                try await list.status(list.address("1")) == "archived", "what we archived looks like what others did")
            #expect(try await list.status("anders@post.koppeling.nl") == "subscribed")
            #expect(try await list.contact(list.address("2")) == nil)
            #expect(try await list.writes() == 1, "the one who is new")

            try await list.put("2", #"{"emails": {"zakelijk": "anders@post.koppeling.nl"}}"#)
            try await list.put("5", #"{"given_name": "Anna"}"#)
            try await list.quiet()
            #expect(try await list.contact(list.address("5"))?.merge_fields["FNAME"] == "Anna", "adopted")
            #expect(try await list.status("anders@post.koppeling.nl") == "subscribed")
        }
    }

    /// All that is not the queue's, with the columns that are written.
    private func tables(_ list: LinkedList) async throws -> [(name: String, columns: String)] {
        try await list.pool.query(
            """
            select c.relname as name, string_agg(a.attname, ', ') as columns
            from pg_class c
            join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
            where c.relnamespace = 'koppeling'::regnamespace and c.relkind = 'r' and not c.relispartition
                and c.relname !~ '^(job|worker|permit|queue|migration)'
            group by c.relname
            """
        ).map { row in (try row.decode("name"), try row.decode("columns")) }
    }

    private func backUp(_ list: LinkedList) async throws {
        try await list.pool.script("create schema backup")
        for (name, columns) in try await tables(list) {
            try await list.pool.script("create table backup.\(name) as select \(columns) from koppeling.\(name)")
        }
    }

    private func restore(_ list: LinkedList) async throws {
        let tables = try await tables(list)
        try await list.pool.transaction { connection in
            try await connection.script("set local session_replication_role = replica")
            try await connection.script(
                "truncate \(tables.map { "koppeling.\($0.name)" }.joined(separator: ", ")) cascade")
            for (name, columns) in tables {
                try await connection.script(
                    """
                    insert into koppeling.\(name) (\(columns)) overriding system value
                    select \(columns) from backup.\(name)
                    """)
            }
            try await connection.script(
                """
                update koppeling.connector_instance
                set last_pull_at = last_pull_at - interval '7 days', last_sweep_at = last_sweep_at - interval '7 days'
                """)
        }
    }
}
