import FoundationEssentials
import IO
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector
@testable import Mailchimp

/// A pull of several pages, of a list that does not stand still.
@Suite("A pull of several pages", .database)
struct PullTests {
    /// Runs the body with somebody who reads the list beside the workers, whose own reading is held.
    ///
    /// Mailchimp's clock stands still but for ``advance(_:_:)``: which contacts are of one second does not depend on this
    /// machine's speed.
    private func run(
        persons: Int = 0, _ body: @escaping @Sendable (LinkedList, ConnectorInstance) async throws -> Void
    ) async throws {
        let began = Int(Date().timeIntervalSince1970)
        try await LinkedList.run(persons: persons, clock: { began }) { list in
            try await list.quiet()
            try await list.hold(true)
            try await list.instances.withPermits { permits in
                let reader = ConnectorInstance(
                    id: list.instance.id, pool: list.pool, accounts: list.accounts, permits: permits, webhooks: nil,
                    logger: Instances.silence)
                try await body(list, reader)
            }
        }
    }

    private func add(_ count: Int, _ prefix: String, _ list: LinkedList) async throws {
        try await list.control(
            "POST", "lists/\(list.list)/contacts", #"{"generate": \#(count), "prefix": "\#(prefix)"}"#)
    }

    private func advance(_ seconds: Int, _ list: LinkedList) async throws {
        try await list.control("POST", "clock", #"{"advance": \#(seconds)}"#)
    }

    private func asAdmin(_ act: String, _ addresses: [String], _ list: LinkedList) async throws {
        let members = try JSONText(encoding: addresses).text
        try await list.control(
            "POST", "lists/\(list.list)/acts", #"{"by": "admin", "act": "\#(act)", "members": \#(members)}"#)
    }

    private func addresses(_ page: ConnectorInstance.ReadPage) throws -> [String] {
        struct Page: Decodable {
            struct Contact: Decodable { var email_address: String }
            var members: [Contact]
        }
        return try JSONText(utf8: page.raw.bytes).decode(Page.self).members.map(\.email_address)
    }

    /// What a pull leaves behind when it is complete.
    private struct Progress: Equatable {
        var cursor, pull, sweep: Date?
    }

    private func progress(_ list: LinkedList) async throws -> Progress {
        let row = try await list.pool.query(
            "select pull_cursor, last_pull_at, last_sweep_at from koppeling.connector_instance")[0]
        return Progress(
            cursor: try row.decode("pull_cursor"), pull: try row.decode("last_pull_at"),
            sweep: try row.decode("last_sweep_at"))
    }

    private func known(_ list: LinkedList) async throws -> Int64 {
        try await list.pool.query("select count(*) from koppeling.audience_member where contact_id is not null")
            .scalar()
    }

    @Test("reads everybody, whoever changes or goes between its pages", arguments: [false, true])
    func changing(isArchived: Bool) async throws {
        try await run { list, reader in
            // More than a page in each of two seconds.
            for (count, prefix) in [(1100, "a"), (1100, "b"), (300, "c")] {
                try await add(count, prefix, list)
                if isArchived {
                    try await asAdmin("archive", (1...count).map { "\(prefix)\($0)@people.test" }, list)
                }
                try await advance(5, list)
            }
            let seen = Locked((pages: 0, addresses: Set<String>()))
            let link = try #require(try await reader.link())
            _ = try await reader.readPages(status: isArchived ? .archived : nil, since: nil, link) { page in
                let met = try addresses(page)
                let pages = seen.withLock { seen in
                    seen.addresses.formUnion(met)
                    seen.pages += 1
                    return seen.pages
                }
                guard pages < 6 else { return nil }
                try await asAdmin(isArchived ? "unarchive" : "archive", Array(met.suffix(8)), list)
                try await asAdmin("delete", Array(met.prefix(8)), list)
                return nil
            }
            let met = seen.withLock { $0.addresses }
            #expect(met.count == 2500)
        }
    }

    @Test("of more than a page in one second is not complete when more go than its pages have in common")
    func restless() async throws {
        try await run { list, reader in
            try await add(2900, "a", list)
            try await advance(5, list)
            let pages = Locked(0)
            let link = try #require(try await reader.link())
            await #expect(throws: RestlessList.self) {
                _ = try await reader.readPages(status: nil, since: nil, link) { page in
                    let number = pages.withLock { pages in
                        pages += 1
                        return pages
                    }
                    if number == 2 { try await asAdmin("archive", try addresses(page), list) }
                    return nil
                }
            }
        }
    }

    @Test("that fails half way leaves the cursor where it was, and the next one catches up", arguments: [false, true])
    func halfWay(isArchived: Bool) async throws {
        try await run(persons: 2) { list, reader in
            try await reader.pull(full: true)
            let before = try await progress(list)
            let pass = isArchived ? #""query_contains": "status=archived", "# : ""
            try await advance(5, list)
            try await add(2100, "a", list)
            try await add(1100, "b", list)
            try await asAdmin("archive", (1...1100).map { "b\($0)@people.test" }, list)
            try await list.asContact("unsubscribe", list.address("0"))
            try await advance(5, list)
            try await list.control(
                "POST", "faults",
                #"{"effect": "500", "skip": 1, "match": {\#(pass)"method": "GET", "route": "/lists/{list}/members"}}"#)
            await #expect(throws: MailchimpError.self) { try await reader.pull(full: false) }
            #expect(try await progress(list) == before)
            try await list.control("DELETE", "faults")
            try await reader.pull(full: false)
            let after = try await progress(list)
            #expect(after.cursor != before.cursor && after.pull != before.pull && after.sweep == before.sweep)
            #expect(try await known(list) == 3202)
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    /// Puts the database's clock that much ahead; 0 puts it right again.
    private func setClock(ahead days: Int, _ list: LinkedList) async throws {
        try await list.pool.script(
            """
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return clock_timestamp() + interval '\(days) days';
            """)
    }

    @Test("goes by Mailchimp's time: the database's clock jumps ahead and back, and no no is missed")
    func databaseClock() async throws {
        try await run(persons: 2) { list, reader in
            try await reader.pull(full: true)
            try await setClock(ahead: 30, list)
            try await list.hold(false)
            try await list.put("1", #"{"family_name": "Anders"}"#)
            try await list.quiet()
            try await list.hold(true)
            try await list.asContact("unsubscribe", list.address("0"))
            try await reader.pull(full: false)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            let cursor = try #require(try await progress(list).cursor)
            #expect(cursor < Date.now)

            try await setClock(ahead: 0, list)
            let link = try #require(try await reader.link())
            #expect(!link.pulledRecently, "what was read at a time to come says nothing of now")
            try await advance(2, list)
            try await list.asContact("unsubscribe", list.address("1"))
            try await reader.pull(full: false)
            #expect(try await list.membership("1") == "inactive unsubscribed")
            let again = try #require(try await reader.link())
            #expect(again.pulledRecently)
        }
    }

    @Test("of an empty list puts the cursor at no time to come")
    func emptyList() async throws {
        try await run { list, reader in
            try await list.pool.query("update koppeling.connector_instance set pull_cursor = null")
            try await setClock(ahead: 30, list)
            try await reader.pull(full: true)
            try await setClock(ahead: 0, list)
            let cursor = try #require(try await progress(list).cursor)
            #expect(cursor < Date.now)
            try await add(1, "a", list)
            try await reader.pull(full: false)
            #expect(try await known(list) == 1)
        }
    }

    @Test("of the whole list takes nobody for missing who changed while it was read")
    func changedMeanwhile() async throws {
        try await run { list, reader in
            try await add(1100, "a", list)
            try await advance(5, list)
            try await add(1000, "b", list)
            try await reader.pull(full: true)
            // All that is behind the first page changes while that is taken in.
            try await list.control(
                "POST", "faults",
                """
                {"effect": "hang", "milliseconds": 1500, "skip": 1, "count": 1, "when": "before",
                 "match": {"method": "GET", "route": "/lists/{list}/members"}}
                """)
            try await advance(5, list)
            async let pulled: Void = reader.pull(full: true)
            struct Faults: Decodable {
                struct Fault: Decodable { var hits: Int }
                var faults: [Fault]
            }
            try await eventually("the second page is asked for") {
                try await list.control("GET", "faults").decode(Faults.self).faults[0].hits == 1
            }
            try await asAdmin("unsubscribe", (1...1100).map { "a\($0)@people.test" }, list)
            try await pulled
            let row = try await list.pool.query(
                """
                select i.paused_reason, count(*) filter (where m.status = 'unsubscribed') as noes
                from koppeling.connector_instance i join koppeling.audience_member m on m.instance_id = i.id
                group by i.id
                """)[0]
            #expect(try row.decode("paused_reason", as: String?.self) == nil)
            #expect(try row.decode("noes", as: Int64.self) == 1100)
        }
    }

    @Test("that meets nobody of several is an incident, however few they are")
    func allGone() async throws {
        try await run(persons: 3) { list, reader in
            try await reader.pull(full: true)
            try await asAdmin("delete", (0..<3).map { list.address("\($0)") }, list)
            try await reader.pull(full: true)
            for id in 0..<3 { #expect(try await list.membership("\(id)") == "active rule") }
            let tasks: Int64 = try await list.pool.query(
                "select count(*) from koppeling.task where kind = 'listGone' and done_at is null"
            ).scalar()
            #expect(tasks == 1)
        }
    }

    @Test("that does not meet the only contact is news of him")
    func onlyOneGone() async throws {
        try await run(persons: 1) { list, reader in
            try await reader.pull(full: true)
            try await asAdmin("delete", [list.address("0")], list)
            try await reader.pull(full: true)
            #expect(try await list.membership("0") == "inactive forgotten")
        }
    }
}
