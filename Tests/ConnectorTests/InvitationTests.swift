import Connector
import FoundationEssentials
import MailchimpSandbox
import Postgres
import TargetGroups
import TestSupport
import Testing

/// Somebody who said no asks to be invited: Mailchimp asks, and the yes to that alone brings anybody back.
@Suite("Whoever said no and asks to be invited", .database)
struct InvitationTests {
    @Test("is asked by Mailchimp, and is a member again, and claimed, once he confirms")
    func confirmed() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.sayNo("0")
            try await list.invite("0")
            #expect(try await list.status(list.address("0")) == "pending")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.invitation() == "sent")
            try await list.pull()
            #expect(try await list.status(list.address("0")) == "pending")

            try await list.asContact("confirm", list.address("0"))
            try await list.put("0", #"{"family_name": "Terug"}"#)
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.contact(list.address("0"))?.merge_fields["LNAME"] == "Terug")
            #expect(try await list.invitation() == "confirmed")
            let ownership: String = try await list.pool.query(
                "select ownership from koppeling.audience_members where address = \(list.address("0"))::text"
            ).scalar()
            #expect(ownership == "adopted", "he subscribed himself")
            #expect(try await list.asked() == 1)
            #expect(try await list.status(list.address("1")) == "subscribed")

            // His next no is a no like the first.
            try await list.sayNo("0")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            await #expect(throws: TargetGroupsError.self, "mailed within the week") { try await list.invite("0") }
        }
    }

    @Test("and is no longer wanted stays out, and subscribed")
    func unwanted() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.put("0", isMember: false)
            try await list.invite("0")
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive ruleNoLongerMatches")
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("and never answers is not brought back by anything, and is asked once")
    func unanswered() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.invite("0")
            try await list.put("0", isMember: false)
            try await list.put("0")
            try await list.decide("include", "0")
            try await list.put("0", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.quiet()
            try await list.put("0")
            try await list.pull(full: true)
            #expect(try await list.status(list.address("0")) == "pending")
            #expect(try await list.status("nieuw@post.koppeling.nl") == nil)
            #expect(try await list.membership("0") == "inactive unsubscribed")
            let refusal = try await list.refusal("0")
            #expect(refusal.contains("an invitation is out since") && refusal.contains("from"), "\(refusal)")
            #expect(try await list.asked() == 1)
        }
    }

    @Test("is asked once although the answer to the call is lost", arguments: ["before", "after"])
    func lostAnswer(moment: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.control(
                "POST", "faults",
                #"{"effect": "500", "when": "\#(moment)", "count": 1, "match": {"method": "PATCH"}}"#)
            try await list.invite("0")
            #expect(try await list.status(list.address("0")) == "pending")
            #expect(try await list.asked() == 1)
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
        }
    }

    @Test("whom Mailchimp does not let be asked is told so, and what he can do")
    func refused() async throws {
        var switches = SandboxSwitches()
        switches.pendingAfterOwnUnsubscribe = false
        try await LinkedList.run(persons: 1, switches: switches) { list in
            try await list.sayNo("0")
            try await list.invite("0")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.invitation() == "refused")
            let action = try await list.pool.query(
                "select state, reason from koppeling.actions where action = 'invite'")
            #expect(try action[0].decode("state") == "rejected")
            #expect(try action[0].decode("reason", as: String.self).contains("a form of Mailchimp's"))
            // Nobody was mailed: he may ask again at once.
            try await list.invite("0")
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    @Test("and says no while the call that asks is under way is unsubscribed after it")
    func saysNoBetween() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.control(
                "POST", "faults",
                #"{"effect": "hang", "milliseconds": 1500, "when": "before", "count": 1, "match": {"method": "PATCH"}}"#
            )
            try await list.pool.query("select koppeling.invite_person('test', '0')")
            try await eventually("the call is under way", within: .seconds(20)) {
                try await list.pool.query(
                    "select exists (select from koppeling.audience_member where intent = 'inviting')"
                ).scalar(as: Bool.self)
            }
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.invitation() != "confirmed")
        }
    }

    @Test("and says no again while he is asked stays out", arguments: ["contact", "user"])
    func saysNoAgain(who: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.invite("0")
            if who == "contact" {
                try await list.asContact("unsubscribe", list.address("0"))
            } else {
                try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            }
            try await list.pull()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.invitation() == "declined")
            // Signing up himself is not the answer to an invitation that he declined.
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.asContact("resubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
        }
    }

    @Test("to a user is asked as well, and not unsubscribed again before he answers")
    func toldHere() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            try await list.control("POST", "clock", #"{"advance": 2}"#)
            try await list.invite("0")
            try await list.pull()
            #expect(try await list.status(list.address("0")) == "pending")
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("and complained, which his activity alone shows, is not asked")
    func complaint() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("complain", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            try await list.invite("0")
            #expect(try await list.membership("0") == "inactive complained")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.asked() == 0)
            #expect(try await list.refusal("0").contains("spam"))
        }
    }

    @Test("is refused, with the reason, where an invitation can lift nothing")
    func obstacles() async throws {
        try await LinkedList.run(persons: 5) { list in
            try await list.quiet()
            #expect(try await list.refusal("0").contains("subscribed to the list"))
            try await list.put("9", isMember: false)
            #expect(try await list.refusal("9").contains("did not unsubscribe"))
            try await list.asAdmin("clean", list.address("1"))
            try await list.asAdmin("delete", list.address("2"))
            try await list.pull(full: true)
            for id in ["1", "2", "3", "4"] { try await list.sayNo(id) }
            #expect(try await list.refusal("1").contains("bounced"))
            #expect(try await list.refusal("2").contains("for good"))
            try await list.put("3", #"{"emails": null}"#)
            #expect(try await list.refusal("3").contains("no e-mail address"))
            try await list.pool.query("select koppeling.archive_person('test', '4')")
            #expect(try await list.refusal("4").contains("archived"))
            #expect(try await list.refusal("5").contains("there is no person"))
            #expect(try await list.asked() == 0)
        }
    }

    @Test("waits while nothing is sent: in a dry run, while the instance is off, in a pause", arguments: [0, 1, 2])
    func held(way: Int) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            let hold: [Query] = [
                "update koppeling.connector_instance set dry_run = true",
                "update koppeling.connector_instance set enabled = false",
                "update koppeling.connector_instance set paused_reason = 'test'",
            ]
            try await list.pool.query(hold[way])
            try await list.requestInvitation("0")
            // Put once more it is the same request.
            try await list.requestInvitation("0")
            if way != 1 {
                try await eventually("it was looked at") {
                    try await list.pool.query(
                        "select coalesce(max(snoozes), 0) from koppeling.job where args ->> 'action' = 'invite'"
                    ).scalar(as: Int32.self) > 0
                }
            }
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.invitation() == "waiting")
            try await list.pool.query(
                """
                update koppeling.connector_instance set dry_run = false, enabled = true, paused_reason = null
                """)
            try await eventually("he is asked", within: .seconds(30)) {
                try await list.pool.execute(
                    """
                    update koppeling.job set run_at = koppeling.now()
                    where kind = 'action' and run_at > koppeling.now() and state <> 'running'
                    """)
                return try await list.status(list.address("0")) == "pending"
            }
            #expect(try await list.asked() == 1)
        }
    }

    @Test("at an address that others hold who said no too is asked once all of them have asked")
    func shared() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.put("8", #"{"emails": {"zakelijk": "\#(list.address("0"))"}}"#)
            try await list.sayNo("0")
            #expect(try await list.membership("8") == "inactive unsubscribed")
            try await list.invite("0")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.waitsFor("0") == 1)
            try await list.invite("8")
            #expect(try await list.status(list.address("0")) == "pending")
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.membership("8") == "active rule")
            #expect(try await list.asked() == 1)
        }
    }

    @Test("at a new address is asked there; his answer at the old one is nobody's any more")
    func newAddress() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.invite("0")
            try await list.put("0", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.quiet()
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status("nieuw@post.koppeling.nl") == nil)
            try await list.invite("0")
            #expect(try await list.status("nieuw@post.koppeling.nl") == "pending")
            try await list.asContact("confirm", "nieuw@post.koppeling.nl")
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
        }
    }

    @Test("at the address that a move was to lead to is asked there, once the old one was told of the no")
    func beforeAMove() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.instances.setAutomatic(false, template: "update", instance: list.instance.name)
            try await list.put("0", #"{"emails": {"zakelijk": "nieuw@post.koppeling.nl"}}"#)
            try await list.quiet()
            try await list.hold(true)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            #expect(try await list.refusal("0").contains("is subscribed to the list"))
            try await list.hold(false)
            try await list.quiet()
            try await list.invite("0")
            #expect(try await list.status("nieuw@post.koppeling.nl") == "pending")
            try await list.asContact("confirm", "nieuw@post.koppeling.nl")
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.status(list.address("0")) == "unsubscribed")
        }
    }

    @Test("after a reading that shows an older no is a member again by his answer all the same")
    func olderNo() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            let second = Int(Date().timeIntervalSince1970)
            try await eventually("the second is over") { Int(Date().timeIntervalSince1970) > second }
            try await list.asContact("profile", list.address("0"), #"{"merge_fields": {"FNAME": "Piet"}}"#)
            try await list.invite("0")
            #expect(try await list.status(list.address("0")) == "pending")
            let noes: Int64 = try await list.pool.query(
                "select count(*) from koppeling.open_suppression where person_id is not null"
            ).scalar()
            #expect(noes == 2, "the later one is recorded at the person too")
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership("0") == "active rule")
        }
    }

    @Test("and answers before the call that asked him is recorded is a member again")
    func answeredUnseen() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.hold(true)
            try await list.requestInvitation("0")
            // A worker whose process died after its call.
            try await list.pool.query("select koppeling.begin_invitation(id) from koppeling.audience_member")
            try await list.unrecorded("PATCH", list.address("0"), #"{"status": "pending"}"#)
            try await list.asContact("confirm", list.address("0"))
            try await list.hold(false)
            try await list.quiet()
            #expect(try await list.membership("0") == "active rule")
            #expect(try await list.invitation() == "confirmed")
            #expect(try await list.asked() == 1)
        }
    }

    @Test(
        "and is merged meanwhile is back when he confirms, unless the other record said no as well",
        arguments: [false, true])
    func merged(otherSaidNo: Bool) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            if otherSaidNo {
                try await list.put("5", #"{"emails": {"zakelijk": "vijf@post.koppeling.nl"}}"#)
                try await list.quiet()
                try await list.pool.query("select koppeling.unsubscribe_person('test', '5')")
            } else {
                try await list.put("5", isMember: false, #"{"emails": null}"#)
            }
            try await list.invite("0")
            let (survivor, other) = otherSaidNo ? ("0", "5") : ("5", "0")
            try await list.pool.query("select koppeling.merge_persons('test', \(survivor), 'test', \(other))")
            #expect(try await list.invitation() == (otherSaidNo ? "withdrawn" : "sent"))
            try await list.asContact("confirm", list.address("0"))
            try await list.pull()
            #expect(try await list.membership(survivor) == (otherSaidNo ? "inactive unsubscribed" : "active rule"))
        }
    }

    @Test("has it in all that is held on her, and an erasure takes it away")
    func heldAndErased() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.sayNo("0")
            try await list.invite("0")
            struct Held: Decodable {
                struct Invitation: Decodable { var requested_by: String }
                var invitations: [Invitation]
            }
            let held: JSONText = try await list.pool.query("select koppeling.export_person('test', '0')").scalar()
            #expect(try held.decode(Held.self).invitations.map(\.requested_by) == ["anna"])
            try await list.pool.query("select koppeling.erase_person('test', '0', 'crm')")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == nil)
            #expect(
                try await list.pool.query("select count(*) from koppeling.invitation").scalar(as: Int64.self) == 0)
        }
    }
}
