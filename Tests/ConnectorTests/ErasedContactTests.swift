import FoundationEssentials
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Whoever is erased is deleted from every list for good, whatever else is going on.
@Suite("The contact of an erased person", .database)
struct ErasedContactTests {
    private struct Report: Decodable {
        struct Contact: Decodable {
            var instance: String
            var outcome: String
        }
        var contacts: [Contact]
        var is_complete: Bool
        var traces: [String: Int]?
        var is_dry_run: Bool
    }

    private func erase(
        _ id: String, _ list: LinkedList, proves: Bool = false, addresses: [String] = [], isDryRun: Bool = false
    ) async throws -> Report {
        try await Erasures(pool: list.pool, vault: list.instances.vault)
            .erase(
                source: "test", id: id, actor: "test", proves: proves, addresses: addresses, isDryRun: isDryRun
            ).decode()
    }

    /// Lets the time pass after which a deleted contact is looked for once more.
    private func finish(_ list: LinkedList) async throws {
        try await list.pool.execute(
            "update koppeling.job set run_at = koppeling.now() where kind = 'erase' and run_at > koppeling.now()")
        try await list.quiet()
    }

    private func traces(_ address: String, _ list: LinkedList) async throws -> JSONText {
        try await list.pool.query("select koppeling.traces(array[\(address)::text])").scalar()
    }

    @Test("is deleted for good and forgotten, and nobody else is touched")
    func deleted() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            let dry = try await erase("0", list, isDryRun: true)
            #expect(dry.is_dry_run && dry.contacts.map(\.outcome) == ["waiting"])
            #expect(try await list.membership("0") == "active rule")

            let report = try await erase("0", list, proves: true)
            #expect(report.contacts.map(\.outcome) == ["waiting"])
            #expect(report.traces == ["audience_member": 1], "only what Mailchimp must be told")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == nil)
            // A page that was read before does not bring the contact back.
            #expect(try await erase("0", list).contacts.map(\.outcome) == ["deleted"])
            try await list.pull(full: true)
            try await finish(list)
            let last = try await erase("0", list)
            #expect(last.is_complete && last.contacts.map(\.outcome) == ["deleted"])
            #expect(try await traces(list.address("0"), list) == "{}")
            #expect(try await erase("0", list, proves: true).traces == nil, "no address is known to search for")
            let address = list.address("0")
            #expect(try await erase("0", list, proves: true, addresses: [address]).traces == [:])
            #expect(try await list.status(list.address("1")) == "subscribed")
            // Put again, she is not sent again.
            try await list.put("0")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == nil)
            #expect(try await traces(list.address("0"), list) == "{}")
        }
    }

    @Test(
        "is deleted when it is foreign, archived or unsubscribed", arguments: ["foreign", "archived", "unsubscribed"])
    func inEveryState(state: String) async throws {
        try await LinkedList.run { list in
            let address = list.address("5")
            if state == "foreign" {
                try await list.control("POST", "lists/\(list.list)/contacts", #"{"email_address": "\#(address)"}"#)
                try await list.pull(full: true)
            }
            try await list.put("5", isMember: state != "foreign")
            try await list.quiet()
            if state == "archived" { try await list.put("5", isMember: false) }
            if state == "unsubscribed" { try await list.asContact("unsubscribe", address) }
            try await list.pull(full: true)
            #expect(try await list.status(address) == (state == "foreign" ? "subscribed" : state))
            _ = try await erase("5", list)
            try await list.quiet()
            #expect(try await list.status(address) == nil)
            try await finish(list)
            #expect(try await traces(address, list) == "{}")
        }
    }

    @Test("is deleted wherever one ever stood for her, under whichever address", arguments: [false, true])
    func former(isMovedOn: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            let emails = isMovedOn ? #"{"zakelijk": "nieuw@post.koppeling.nl"}"# : #"{"zakelijk": null}"#
            try await list.put("0", isMember: isMovedOn, #"{"emails": \#(emails)}"#)
            try await list.quiet()

            let report = try await erase("0", list)
            #expect(report.contacts.map(\.outcome) == Array(repeating: "waiting", count: isMovedOn ? 2 : 1))
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == nil)
            #expect(try await list.status("nieuw@post.koppeling.nl") == nil)
            try await finish(list)
            #expect(try await erase("0", list).is_complete)
            #expect(try await traces(list.address("0"), list) == "{}")
        }
    }

    @Test("stays when it stood for her once and the address is somebody else's by now")
    func formerOfAnother() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let address = list.address("0")
            try await list.put("0", isMember: false, #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.put("1", #"{"emails": {"zakelijk": "\#(address)"}}"#)
            try await list.quiet()
            _ = try await erase("0", list)
            try await list.quiet()
            #expect(try await list.status(address) == "subscribed")
        }
    }

    @Test("is kept when somebody else claims it, with that one's names")
    func shared() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.put("8", #"{"emails": {"zakelijk": "\#(list.address("0"))"}, "family_name": "Blijft"}"#)
            try await list.quiet()
            let report = try await erase("0", list)
            #expect(report.contacts.map(\.outcome) == ["kept"])
            #expect(report.is_complete)
            try await list.quiet()
            let contact = try await list.contact(list.address("0"))
            #expect(contact?.status == "subscribed")
            #expect(contact?.merge_fields["LNAME"] == "Blijft")
        }
    }

    @Test("is deleted although the instance is off, paused, or its templates are manual; nothing else is done then")
    func whileOff() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.instances.setAutomatic(false, template: "delete", instance: list.instance.name)
            try await list.instances.setEnabled(false, instance: list.instance.name)
            try await list.pool.execute("update koppeling.connector_instance set paused_reason = 'test'")
            try await list.put("7")
            try await list.put("1", #"{"family_name": "Anders"}"#)
            _ = try await erase("0", list)
            try await eventually("she is gone", within: .seconds(30)) {
                try await list.status(list.address("0")) == nil
            }
            #expect(try await list.status(list.address("7")) == nil)
            #expect(try await list.contact(list.address("1"))?.merge_fields["LNAME"] == "Berg 1")
        }
    }

    @Test("whose creating is under way is deleted after it")
    func duringTheCreate() async throws {
        try await LinkedList.run { list in
            try await list.quiet()
            for id in 20..<32 {
                try await list.put("\(id)")
                // At once, when there is a row for the contact, when the call is about to be made, when it is there.
                let moment = id % 4
                try await eventually {
                    let rows = try await list.pool.query(
                        """
                        select intent, status from koppeling.audience_member
                        where address_key = \(list.address("\(id)"))::text
                        """)
                    guard moment > 0, let row = rows.first else { return moment == 0 }
                    let isThere = try row.decode("status", as: String?.self) == "subscribed"
                    return try moment == 1 || isThere
                        || moment == 2 && row.decode("intent", as: String?.self) != nil
                }
                _ = try await erase("\(id)", list)
            }
            try await list.quiet()
            try await finish(list)
            for id in 20..<32 {
                #expect(try await list.status(list.address("\(id)")) == nil)
                #expect(try await traces(list.address("\(id)"), list) == "{}")
            }
        }
    }

    @Test("whose list is gone ends with that in the report")
    func listGone() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.control("DELETE", "lists/\(list.list)")
            _ = try await erase("0", list)
            try await list.quiet()
            let report = try await erase("0", list)
            #expect(report.contacts.map(\.outcome) == ["listGone"])
            #expect(report.is_complete)
            #expect(try await traces(list.address("0"), list) == "{}")
        }
    }

    @Test("is asked for in SQL by those who may write, and done by a worker")
    func bySQL() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.pool.query("select koppeling.erase_person('TEST', '0', 'crm')")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == nil)
            let actor: String = try await list.pool.query("select actor from koppeling.erasures").scalar()
            #expect(actor == "crm")
        }
    }

    @Test("that was anonymised with random data is deleted at the old address, and the random one never comes in")
    func anonymised() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            let random = #"{"anonymised": true, "family_name": "Qwx", "emails": {"zakelijk": "qwx@post.koppeling.nl"}}"#
            try await list.put("0", random)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == nil)
            // Put once more, it is a put of somebody erased.
            try await list.put("0", random)
            try await list.quiet()
            try await finish(list)
            #expect(try await list.status("qwx@post.koppeling.nl") == nil)
            #expect(try await list.status(list.address("1")) == "subscribed")
            #expect(try await traces(list.address("0"), list) == "{}")
            #expect(try await traces("qwx", list) == "{}")
            let skipped: Int64 = try await list.pool.query("select puts_skipped from koppeling.erasures").scalar()
            #expect(skipped == 1)
        }
    }

    @Test(
        "who said no at an address that she left, or moved to there, is known by it still: whoever is given it stays out",
        arguments: ["left", "moved"])
    func noAtAFormerAddress(how: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            var address = list.address("0")
            if how == "moved" {
                address = "elders@post.koppeling.nl"
                try await list.asContact("change-address", list.address("0"), #"{"email_address": "\#(address)"}"#)
                try await list.pull()
            }
            try await list.asContact("unsubscribe", address)
            try await list.pull()
            try await list.put("0", #"{"emails": {"zakelijk": "later@post.koppeling.nl"}}"#)
            try await list.quiet()
            _ = try await erase("0", list)
            try await list.quiet()
            #expect(try await list.status(address) == nil)
            try await finish(list)
            #expect(try await traces(address, list) == "{}")
            // Mailchimp is not asked, which would not take back whom it deleted.
            try await list.hold(true)
            try await list.put("9", #"{"emails": {"zakelijk": "\#(address)"}}"#)
            try await eventually("it is held against the ledger") {
                try await list.membership("9") == "inactive forgotten"
            }
        }
    }

    @Test("takes no no along that was said at an address which somebody else held, though nobody does when it is gone")
    func sharedNo() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.put("8", isMember: false, #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            _ = try await erase("0", list)
            try await list.quiet()
            try await list.put("8", #"{"emails": {"zakelijk": "\#(list.address("8"))"}}"#)
            try await finish(list)
            try await list.put("9", #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.quiet()
            for id in ["8", "9"] {
                #expect(try await list.membership(id) == "inactive unsubscribed")
                #expect(try await list.contact(list.address(id == "8" ? "8" : "0")) == nil)
            }
        }
    }
}
