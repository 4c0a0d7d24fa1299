import Foundation
import Postgres
import TestSupport
import Testing

@testable import Connector

@Suite(.database) struct OddPageTests {
    @Test func `A contact that cannot be kept costs nothing but itself`() async throws {
        try await LinkedList.run { linked in
            let odd = [
                #"{"id":"1","contact_id":"c1","email_address":"ann@people.test","status":"subscribed"}"#,
                #"{"id":"2","contact_id":"c2","email_address":"","status":"subscribed"}"#,
                #"{"id":"3","contact_id":"c3","email_address":null,"status":"unsubscribed"}"#,
                #"{"id":"4","contact_id":"c4","status":"cleaned"}"#,
                #"{"id":"5","contact_id":"c5","email_address":"bob@people.test","status":"brandnew"}"#,
                #"{"id":"6","contact_id":"c6","email_address":"cor@people.test"}"#, "{}",
            ]
            let seen = try await observe(odd, linked)
            // All of them count, or the pages behind this one would not be read.
            #expect(seen == 7)
            #expect(try await kept(linked) == ["ann@people.test subscribed"])
            // A status that is not known says neither yes nor no.
            let later = #"{"id":"1","contact_id":"c1","email_address":"ann@people.test","status":"brandnew"}"#
            #expect(try await observe([later], linked) == 1)
            #expect(try await kept(linked) == ["ann@people.test subscribed"])
        }
    }

    private func observe(_ members: [String], _ linked: LinkedList) async throws -> Int64 {
        let page = #"{"members":[\#(members.joined(separator: ","))]}"#
        let rows = try await linked.pool.query(
            """
            select members from koppeling.observe_page(\(linked.instance.id)::bigint,
                \(JSONText(utf8: Array(page.utf8)))::jsonb, koppeling.now(), 0)
            """)
        return try rows.scalar(as: Int64.self)
    }

    private func kept(_ linked: LinkedList) async throws -> [String] {
        let rows = try await linked.pool.query(
            """
            select address || ' ' || status as line from koppeling.audience_member
            where instance_id = \(linked.instance.id)::bigint and status is not null order by address
            """)
        return try rows.map { try $0.decode("line", as: String.self) }
    }
}
