import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Archiving hides what a contact said: it is done on a reading just made, and what it may hide is looked for.
@Suite("An archive of ours", .database)
struct ArchiveTests {
    private let elsewhere = "elders@post.koppeling.nl"

    @Test("a no from an old mail, said after it, holds when the rule matches again, also at a new address")
    func leftAfterwards() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.put("0")
            try await list.quiet()
            try await list.pull(full: true)
            #expect(try await list.status(list.address("0")) != "subscribed")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await moveElsewhere(list)
        }
    }

    @Test("a no that nothing told of is read before it; a new address is no way around that")
    func leftBefore() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            try await moveElsewhere(list)
        }
    }

    @Test("a no that Mailchimp hides beneath it is found on taking back, and binds the next address too")
    func hidden() async throws {
        try await LinkedList.run(persons: 1, switches: .permissive) { list in
            try await list.quiet()
            try await whileArchiving(list) { try await list.asContact("unsubscribe", list.address("0")) }
            #expect(try await list.status(list.address("0")) == "archived", "it fell between the read and the call")
            try await list.put("0")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await moveElsewhere(list)
        }
    }

    @Test(
        "that Mailchimp refuses is judged by what it shows then",
        arguments: [("clean", "cleaned", false), ("archive", "archived", true), ("delete", "absent", false)])
    func refused(act: String, status: String, isOurs: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await whileArchiving(list) { try await list.asAdmin(act, list.address("0")) }
            let row = try await list.pool.query(
                "select status, archived_by_us, intent is null as is_done from koppeling.audience_member")[0]
            #expect(try row.decode("status") == status)
            #expect(try row.decode("archived_by_us") == isOurs)
            #expect(try row.decode("is_done") == true)
        }
    }

    /// The person's category goes, and this happens while the call that archives her is under way.
    private func whileArchiving(_ list: LinkedList, _ body: () async throws -> Void) async throws {
        try await list.control(
            "POST", "faults",
            #"{"effect": "hang", "milliseconds": 1500, "when": "before", "count": 1, "match": {"method": "DELETE"}}"#)
        try await list.put("0", isMember: false)
        struct Faults: Decodable {
            struct Fault: Decodable { var hits: Int }
            var faults: [Fault]
        }
        try await eventually("the call is under way") {
            try await list.control("GET", "faults").decode(Faults.self).faults[0].hits == 1
        }
        try await body()
        try await list.quiet()
    }

    /// The person gets another address and the category again: nobody is created there.
    private func moveElsewhere(_ list: LinkedList) async throws {
        try await list.put("0", #"{"emails": {"zakelijk": "\#(elsewhere)"}}"#)
        try await list.quiet()
        try await list.pull(full: true)
        #expect(try await list.contact(elsewhere) == nil)
        #expect(try await list.membership("0") == "inactive unsubscribed")
    }
}
