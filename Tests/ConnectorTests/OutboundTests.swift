import Connector
import Postgres
import TestSupport
import Testing

/// From a person's facts to the list, through the real queue and over HTTP.
@Suite("What goes out", .database)
struct OutboundTests {
    @Test("creates those who enter with their names, in bulk, and leaves the others alone")
    func create() async throws {
        try await LinkedList.run(persons: 30) { list in
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "elders@post.koppeling.nl"}"#)
            let before = try #require(try await list.contact("elders@post.koppeling.nl"))
            try await list.quiet()
            for id in 0..<30 {
                let contact = try #require(try await list.contact(list.address("\(id)")))
                #expect(contact.status == "subscribed")
                #expect(contact.merge_fields["FNAME"] == "Jan")
                #expect(contact.merge_fields["LNAME"] == "Berg \(id)")
            }
            #expect(try await list.contact("elders@post.koppeling.nl")?.writes == before.writes)
        }
    }

    @Test("changes names, and moves the same contact when the address changes")
    func update() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            let before = try #require(try await list.contact(list.address("1")))
            try await list.put("0", #"{"prefixes": "van der", "family_name": "Meer"}"#)
            try await list.put("1", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.quiet()
            #expect(try await list.contact(list.address("0"))?.merge_fields["LNAME"] == "van der Meer")
            let moved = try #require(try await list.contact("nieuw@post.koppeling.nl"))
            #expect(moved.contact_id == before.contact_id)
            #expect(try await list.contact(list.address("1")) == nil)
        }
    }

    @Test("an address that changes twice before the first move ran is one move, of the same contact")
    func changedTwice() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let before = try #require(try await list.contact(list.address("0")))
            try await list.hold(true)
            for address in ["twee@post.koppeling.nl", "drie@post.koppeling.nl"] {
                try await list.put("0", #"{"emails": {"zakelijk": "\#(address)"}}"#)
                try await eventually("the move is staged") {
                    try await list.pool.query("select moving_to from koppeling.audience_member").scalar(
                        as: String?.self)
                        == address
                }
            }
            try await list.staged(1)
            try await list.control("DELETE", "requests")
            try await list.hold(false)
            try await list.quiet()
            let moved = try #require(try await list.contact("drie@post.koppeling.nl"))
            #expect(moved.contact_id == before.contact_id && moved.status == "subscribed")
            for gone in [list.address("0"), "twee@post.koppeling.nl"] {
                #expect(try await list.contact(gone) == nil)
            }
            #expect(try await list.writes() == 1)
        }
    }

    @Test("a move that was decided before the address changed again is decided again: the first may be barred by now")
    func changedMeanwhile() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.hold(true)
            for address in ["eerste@post.koppeling.nl", "tweede@post.koppeling.nl"] {
                try await list.put("0", #"{"emails": {"zakelijk": "\#(address)"}}"#)
                try await eventually("it is to move there") {
                    try await list.pool.query(
                        "select moving_to = \(address)::text from koppeling.audience_member"
                    ).first?.decode(0, as: Bool?.self) == true
                }
            }
            // Whoever has the first by now says no.
            try await list.put("7", isMember: false, #"{"emails": {"zakelijk": "eerste@post.koppeling.nl"}}"#)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '7')")
            #expect(try await begins("eerste@post.koppeling.nl", list) == false)
            #expect(try await begins("tweede@post.koppeling.nl", list))
        }
    }

    /// Whether a move to this address, decided before, is begun.
    private func begins(_ address: String, _ list: LinkedList) async throws -> Bool {
        try await list.pool.query(
            """
            select coalesce(koppeling.begin_call(m.id, 'moving', c.fields, \(address)::text), false)
            from koppeling.audience_member m join koppeling.claim c on c.member_id = m.id
            """
        ).scalar()
    }

    @Test("who said no at the old address does not move, and is not created at the new one")
    func unsubscribedBeforeTheMove() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.control("DELETE", "requests")
            try await list.put("0", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.quiet()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await list.pull(full: true)
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.contact("nieuw@post.koppeling.nl") == nil)
            #expect(try await list.writes() == 0)
        }
    }

    @Test("sends nothing for a change of case, nor for a put that changes nothing")
    func nothing() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.control("DELETE", "requests")
            try await list.put("0", #"{"emails": {"zakelijk": "PERSOON0@post.koppeling.nl"}}"#)
            try await list.put("1")
            try await list.quiet()
            #expect(try await list.writes() == 0)
        }
    }

    @Test("archives who leaves, and takes the same contact back when the rule matches again")
    func archive() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            let before = try #require(try await list.contact(list.address("0")))
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            try await list.put("0")
            try await list.quiet()
            let back = try #require(try await list.contact(list.address("0")))
            #expect(back.status == "subscribed")
            #expect(back.contact_id == before.contact_id)
        }
    }

    @Test("of two persons with one address the first leaving switches the names and the second archives")
    func sharedAddress() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let shared = list.address("0")
            try await list.put("7", #"{"given_name": "Piet", "emails": {"zakelijk": "\#(shared)"}}"#)
            try await list.quiet()
            #expect(try await list.contact(shared)?.merge_fields["FNAME"] == "Jan")
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.contact(shared)?.merge_fields["FNAME"] == "Piet")
            #expect(try await list.status(shared) == "subscribed")
            try await list.put("7", isMember: false, #"{"emails": {"zakelijk": "\#(shared)"}}"#)
            try await list.quiet()
            #expect(try await list.status(shared) == "archived")
        }
    }

    @Test(
        "adopts a contact that was there, and archives it when the person leaves, unless the instance keeps those",
        arguments: [false, true])
    func adopt(keeps: Bool) async throws {
        try await LinkedList.run { list in
            if keeps { try await list.instances.set(.keepAdopted, to: true, instance: list.instance.name) }
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "\#(list.address("5"))"}"#)
            try await list.pull(full: true)
            try await list.put("5")
            try await list.quiet()
            #expect(try await list.contact(list.address("5"))?.merge_fields["FNAME"] == "Jan")
            try await list.put("5", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("5")) == (keeps ? "subscribed" : "archived"))
        }
    }

    @Test("moves to an address that stands in the list already: adopts it and archives the old one")
    func moveOntoAnother() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "bezet@post.koppeling.nl"}"#)
            try await list.put("0", #"{"emails": {"zakelijk": "bezet@post.koppeling.nl"}}"#)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
            #expect(try await list.contact("bezet@post.koppeling.nl")?.merge_fields["LNAME"] == "Berg 0")
        }
    }

    @Test(
        "whoever gets the address that another is about to leave, or is leaving, stands there beside him",
        arguments: ["before", "before, by hand", "during", "during, by hand"])
    func oldAddressGiven(when: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let (old, new) = (list.address("0"), "verhuisd@post.koppeling.nl")
            let isBefore = when.hasPrefix("before")
            if isBefore {
                try await list.instances.setAutomatic(false, template: "update", instance: list.instance.name)
            } else {
                try await list.control(
                    "POST", "faults", #"{"effect": "slow", "milliseconds": 1500, "match": {"method": "PATCH"}}"#)
            }
            try await list.put("0", #"{"emails": {"zakelijk": "\#(new)"}}"#)
            try await eventually("the move") {
                try await list.pool.query(
                    """
                    select exists (select from koppeling.audience_member m
                                   where m.moving_to is not null and (m.intent = 'moving' or \(isBefore)::boolean))
                    """
                ).scalar(as: Bool.self)
            }
            try await list.put("1", #"{"given_name": "Piet", "emails": {"zakelijk": "\#(old)"}}"#)
            if when.hasSuffix("by hand") { try await list.decide("include", "1") }
            try await list.quiet()
            try await list.control("DELETE", "faults")
            try await list.pool.query("select koppeling.run_waiting_actions(\(list.instance.name))")
            try await list.quiet()
            for (address, name) in [(old, "Piet"), (new, "Jan")] {
                let contact = try await list.contact(address)
                #expect(contact?.status == "subscribed", "\(address)")
                #expect(contact?.merge_fields["FNAME"] == name, "\(address)")
            }
        }
    }

    @Test("a contact who went to the person's address inside Mailchimp, unseen, is the one that is adopted")
    func knownElsewhere() async throws {
        try await LinkedList.run { list in
            try await list.control(
                "POST", "lists/\(list.list)/contacts", #"{"email_address": "eerst@post.koppeling.nl"}"#)
            try await list.pull(full: true)
            try await list.asContact(
                "change-address", "eerst@post.koppeling.nl", #"{"email_address": "\#(list.address("5"))"}"#)
            try await list.put("5")
            try await list.quiet()
            #expect(try await list.contact(list.address("5"))?.merge_fields["LNAME"] == "Berg 5")
        }
    }

    @Test("names that an unrecorded call put there are not taken for those that were there before")
    func unrecordedNames() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let address = list.address("0")
            try await list.hold(true)
            try await list.put("0", isMember: false)
            try await list.staged(1)
            try await list.intend("archiving")
            try await list.unrecorded("DELETE", address)
            try await list.hold(false)
            try await list.quiet()
            try await list.hold(true)
            try await list.put("7", #"{"given_name": "Piet", "emails": {"zakelijk": "\#(address)"}}"#)
            try await list.staged(1)
            try await list.intend("creating")
            try await list.unrecorded(
                "PATCH", address, #"{"status": "subscribed", "merge_fields": {"FNAME": "Piet", "LNAME": "Berg 7"}}"#)
            try await list.put("7", isMember: false, #"{"emails": {"zakelijk": "\#(address)"}}"#)
            try await list.put("0")
            try await eventually("the one has left and the other is back") {
                let (back, left) = (try await list.membership("0"), try await list.membership("7"))
                return back == "active rule" && left == "inactive ruleNoLongerMatches"
            }
            try await list.hold(false)
            try await list.quiet()
            #expect(try await list.contact(address)?.status == "subscribed")
            #expect(try await list.contact(address)?.merge_fields["FNAME"] == "Jan")
        }
    }

    @Test("a person without an address of the kind is a member and is not sent; one that comes later is created")
    func noAddress() async throws {
        try await LinkedList.run { list in
            try await list.put("3", #"{"emails": {"zakelijk": null}}"#)
            try await list.quiet()
            #expect(try await list.membership("3") == "active rule")
            try await list.put("3")
            try await list.quiet()
            #expect(try await list.status(list.address("3")) == "subscribed")
        }
    }

    @Test("a manual template parks its actions until somebody runs them")
    func manual() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.instances.setAutomatic(false, template: "create", instance: list.instance.name)
            try await list.put("4")
            try await list.quiet()
            #expect(try await list.status(list.address("4")) == nil)
            let released: Int64 = try await list.pool.query(
                "select koppeling.run_waiting_actions(\(list.instance.name))"
            ).scalar()
            #expect(released == 1)
            try await list.quiet()
            #expect(try await list.status(list.address("4")) == "subscribed")
        }
    }

    @Test(
        "when the answer to a call is lost after it was carried out, the repeat finds it done",
        arguments: [
            ("POST", "create"), ("PATCH", "update"), ("PATCH", "move"), ("DELETE", "archive"),
        ])
    func lostAnswer(method: String, what: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            let before = try #require(try await list.contact(list.address("0")))
            try await list.control(
                "POST", "faults",
                #"{"effect": "reset", "when": "after", "count": 1, "match": {"method": "\#(method)"}}"#)
            switch what {
            case "create": try await list.put("9")
            case "update": try await list.put("0", #"{"family_name": "Anders"}"#)
            case "move": try await list.put("0", #"{"emails": {"zakelijk": "verhuisd@post.koppeling.nl"}}"#)
            default: try await list.put("0", isMember: false)
            }
            try await list.quiet()
            switch what {
            case "create":
                let created = try #require(try await list.contact(list.address("9")))
                #expect(created.status == "subscribed")
                #expect(created.writes == 1)
            case "update":
                let updated = try #require(try await list.contact(list.address("0")))
                #expect(updated.merge_fields["LNAME"] == "Anders")
                #expect(updated.writes == before.writes + 1)
            case "move":
                #expect(try await list.contact("verhuisd@post.koppeling.nl")?.contact_id == before.contact_id)
            default:
                #expect(try await list.status(list.address("0")) == "archived")
                #expect(try await list.membership("0") == "inactive ruleNoLongerMatches")
            }
        }
    }
}
