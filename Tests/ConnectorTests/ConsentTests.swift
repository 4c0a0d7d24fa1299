import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Nobody who said no is mailed again, wherever and however the no was said.
@Suite("Whoever said no", .database)
struct ConsentTests {
    /// Everything that might bring somebody back, and the check that nothing did.
    private func tryEverything(_ id: String, _ list: LinkedList) async throws {
        try await list.put(id, isMember: false)
        try await list.put(id)
        try await list.put(id, #"{"family_name": "Anders"}"#)
        try await list.decide("include", id)
        try await list.put(id, #"{"emails": {"zakelijk": "nieuw\#(id)@post.koppeling.nl"}}"#)
        try await list.quiet()
        #expect(try await list.status("nieuw\(id)@post.koppeling.nl") == nil)
        try await list.put(id)
        try await list.pull()
    }

    @Test("in Mailchimp stays out, whatever is done here; the person file stays active")
    func unsubscribed() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await tryEverything("0", list)
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            let state: String = try await list.pool.query(
                "select state from koppeling.person where external_id = '0'"
            ).scalar()
            #expect(state == "active")
            #expect(try await list.status(list.address("1")) == "subscribed")
        }
    }

    @Test("here is unsubscribed in Mailchimp too, and stays out")
    func toldHere() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            try await tryEverything("0", list)
            #expect(try await list.status(list.address("0")) == "unsubscribed")
        }
    }

    @Test("at an address that nobody held yet binds who is given it, and outlives it")
    func beforehand() async throws {
        try await LinkedList.run { list in
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "vroeg@post.koppeling.nl"}"#)
            try await list.asContact("unsubscribe", "vroeg@post.koppeling.nl")
            try await list.pull(full: true)
            try await list.put("6", #"{"emails": {"zakelijk": "vroeg@post.koppeling.nl"}}"#)
            try await list.quiet()
            #expect(try await list.membership("6") == "inactive unsubscribed")
            try await list.put("6")
            try await list.quiet()
            #expect(try await list.membership("6") == "inactive unsubscribed")
            #expect(try await list.status(list.address("6")) == nil)
        }
    }

    @Test("and was archived since is not taken back: the activity shows the no that the archive hides")
    func hiddenBeneathAnArchive() async throws {
        try await LinkedList.run(persons: 1, switches: .permissive) { list in
            try await list.quiet()
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            // From an old mail: Mailchimp notes it beneath the archive and goes on showing `archived`.
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.asAdmin("archive", list.address("0"))
            try await list.put("0")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) != "subscribed")
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    @Test("between our pull and our create is not subscribed by it")
    func racesTheCreate() async throws {
        try await LinkedList.run { list in
            try await list.quiet()
            // Known as absent by the pull; then the contact comes, and says no, before the create.
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "\#(list.address("2"))"}"#)
            try await list.asContact("unsubscribe", list.address("2"))
            try await list.put("2")
            try await list.quiet()
            #expect(try await list.status(list.address("2")) == "unsubscribed")
            #expect(try await list.membership("2") == "inactive unsubscribed")
        }
    }

    @Test(
        "by complaint, bounce, or being deleted for good in Mailchimp has that reason",
        arguments: [
            // A listing shows a complaint as an unsubscribe; only a webhook tells them apart.
            ("complain", "unsubscribed"), ("clean", "cleaned"), ("delete", "forgotten"),
            ("archive", "removedInMailchimp"),
        ])
    func otherReasons(act: String, reason: String) async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            if act == "complain" {
                try await list.asContact(act, list.address("0"))
            } else {
                try await list.asAdmin(act, list.address("0"))
            }
            try await list.pull(full: true)
            #expect(try await list.membership("0") == "inactive \(reason)")
            try await list.put("0", isMember: false)
            try await list.put("0")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) != "subscribed")
        }
    }

    @Test("here, after the contact changed the address inside Mailchimp, is unsubscribed at the new one")
    func toldHereAfterAMove() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact(
                "change-address", list.address("0"), #"{"email_address": "elders@post.koppeling.nl"}"#)
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            #expect(try await list.status("elders@post.koppeling.nl") == "unsubscribed")
        }
    }

    @Test("here is told to a contact that moved inside Mailchimp, also where nobody claims it")
    func toldHereWhereNobodyClaims() async throws {
        try await LinkedList.run { list in
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "\#(list.address("0"))"}"#)
            try await list.pull()
            try await list.asContact(
                "change-address", list.address("0"), #"{"email_address": "elders@post.koppeling.nl"}"#)
            try await list.pull()
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            #expect(try await list.status("elders@post.koppeling.nl") == "unsubscribed")
        }
    }

    @Test("here, while a move to the new address waits for somebody, is told at the old one", arguments: [false, true])
    func toldHereBeforeAMove(isKept: Bool) async throws {
        try await LinkedList.run { list in
            let name = list.instance.name
            if isKept {
                try await list.instances.set(.keepAdopted, to: true, instance: name, actor: "test")
                try await list.control(
                    "POST", "lists/\(list.list)/contacts", #"{"email_address": "\#(list.address("0"))"}"#)
            }
            try await list.put("0")
            try await list.quiet()
            for template in ["update", "delete"] {
                try await list.instances.setAutomatic(false, template: template, instance: name)
            }
            try await list.put("0", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "subscribed")
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.status("nieuw@post.koppeling.nl") == nil)
        }
    }

    @Test("here is a complaint for good when Mailchimp's answer to our unsubscribing shows one")
    func toldHereAfterAComplaint() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.hold(true)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.intend("unsubscribing")
            try await list.pool.query(
                """
                select koppeling.record_call(m.id, null, null, jsonb_build_object('id', m.remote_id,
                    'contact_id', m.contact_id, 'email_address', m.address, 'status', 'unsubscribed',
                    'unsubscribe_reason', 'abuse', 'last_changed', koppeling.now()))
                from koppeling.audience_member m
                """)
            #expect(try await list.membership("0") == "inactive complained")
        }
    }

    @Test("shares an address: an unsubscribe makes both inactive")
    func shared() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.put("8", #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.membership("8") == "inactive unsubscribed")
        }
    }
}
