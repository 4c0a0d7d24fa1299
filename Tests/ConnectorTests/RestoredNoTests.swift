import FoundationEssentials
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// A call subscribes somebody whose no nobody could see: it is found, restored and listed.
@Suite("A no that fell in between", .database)
struct RestoredNoTests {
    private struct Audit: Decodable {
        struct Between: Decodable {
            var count: Int
            var restored: Int
        }

        struct Consent: Decodable {
            var subscribed_against_known_no: Int
            var subscribed_without_read: Int
            var no_in_between: Between
        }

        var consent: Consent
    }

    /// Every no in between is restored, no call was made against better knowledge, and the list of them is whole.
    private func expectRestored(_ count: Int, foundIn source: String, _ list: LinkedList) async throws {
        let audit = try await list.control("GET", "audit").decode(Audit.self).consent
        #expect(audit.subscribed_against_known_no == 0)
        #expect(audit.subscribed_without_read == 0)
        #expect(audit.no_in_between.count == audit.no_in_between.restored)
        let listed: Int64 = try await list.pool.query(
            "select count(*) from koppeling.restored_nos where restored_at is not null and found_in = \(source)"
        ).scalar()
        #expect(listed == Int64(count))
    }

    /// Contacts who signed up, said no and were archived, all since the list was read.
    private func come(_ ids: [String], _ list: LinkedList) async throws {
        for id in ids {
            let address = list.address(id)
            try await list.asContact("resubscribe", address, #"{"email_address": "\#(address)"}"#)
            try await list.asContact("unsubscribe", address)
            try await list.asAdmin("archive", address)
        }
    }

    private func putTogether(_ ids: [String], _ list: LinkedList) async throws {
        try await list.hold(true)
        for id in ids { try await list.put(id) }
        try await list.staged(Int64(ids.count))
        try await list.hold(false)
        try await list.quiet()
    }

    @Test("beneath an archive that a call revived, and that an admin archived again before anybody saw it")
    func archivedAgain() async throws {
        try await LinkedList.run(switches: .permissive) { list in
            try await list.quiet()
            try await list.hold(true)
            try await list.put("5")
            try await list.staged(1)
            try await come(["5"], list)
            try await list.intend("creating")
            let address = list.address("5")
            try await list.unrecorded("PUT", address, #"{"email_address": "\#(address)", "status": "subscribed"}"#)
            try await list.asAdmin("archive", list.address("5"))
            try await list.hold(false)
            try await list.quiet()
            try await expectRestored(1, foundIn: "activity", list)
            #expect(try await list.membership("5") == "inactive unsubscribed")
        }
    }

    @Test("beneath an archive that a bulk create revives", arguments: [false, true])
    func bulk(answerIsLost: Bool) async throws {
        try await LinkedList.run(switches: .permissive) { list in
            try await list.quiet()
            try await come(["1", "2"], list)
            if answerIsLost {
                try await list.control(
                    "POST", "faults", #"{"effect": "500", "when": "after", "count": 1, "match": {"method": "POST"}}"#)
            }
            try await putTogether(["1", "2", "3"], list)
            for id in ["1", "2"] {
                #expect(try await list.status(list.address(id)) == "unsubscribed")
                #expect(try await list.membership(id) == "inactive unsubscribed")
            }
            #expect(try await list.status(list.address("3")) == "subscribed")
            try await expectRestored(2, foundIn: "activity", list)
        }
    }

    @Test("of one who looks new in a bulk answer is found by the pull soon after, which reads no other activity")
    func bulkWithoutNumbers() async throws {
        try await LinkedList.run(switches: .permissive) { list in
            let revived = try await reviveUnseen(list)
            #expect(try await list.writes() == 1)
            let soon: Bool = try await list.pool.query(
                """
                select run_at < koppeling.now() + interval '30 seconds' from koppeling.job where kind = 'instance.pull'
                """
            ).scalar()
            #expect(soon)
            // As late as it may come, his opting in is still told to be that of our call.
            try await list.pool.script(
                """
                create or replace function koppeling.now() returns timestamptz
                    language sql volatile parallel safe
                    return clock_timestamp() + interval '9 minutes';
                """)
            try await list.pull()
            #expect(try await list.status(revived) == "unsubscribed")
            #expect(try await list.membership("1") == "inactive unsubscribed")
            #expect(try await list.status(list.address("2")) == "subscribed")
            #expect(try await activities(list) == 1)
            try await list.pull()
            #expect(try await activities(list) == 1)
            try await expectRestored(1, foundIn: "activity", list)
        }
    }

    /// A bulk create revives the first of many, who had said no; returns his address.
    private func reviveUnseen(_ list: LinkedList) async throws -> String {
        try await list.quiet()
        let revived = list.address("1")
        try await list.control(
            "POST", "lists/\(list.list)/contacts", #"{"contacts": [{"email_address": "\#(revived)"}]}"#)
        try await list.asContact("unsubscribe", revived)
        try await list.asAdmin("archive", revived)
        try await list.control("DELETE", "requests")
        try await putTogether((1...24).map(String.init), list)
        #expect(try await list.status(revived) == "subscribed", "nothing told him from the others")
        return revived
    }

    @Test(
        "is looked for although the template of the action that does it waits for somebody", arguments: [true, false])
    func manualTemplate(isMember: Bool) async throws {
        try await LinkedList.run(switches: .permissive) { list in
            for template in ["update", "delete"] {
                try await list.instances.setAutomatic(false, template: template, instance: list.instance.name)
            }
            let revived = try await reviveUnseen(list)
            if !isMember {
                try await list.put("1", isMember: false)
                try await list.quiet()
            }
            try await list.pull()
            #expect(try await list.status(revived) == "unsubscribed")
            try await expectRestored(1, foundIn: "activity", list)
        }
    }

    /// How often somebody's activity was read.
    private func activities(_ list: LinkedList) async throws -> Int {
        struct Counts: Decodable {
            struct Count: Decodable {
                var route: String
                var count: Int
            }
            var counts: [Count]
        }
        let counts: Counts = try await list.control("GET", "requests/counts").decode()
        return counts.counts.filter { $0.route.hasSuffix("activity") }.reduce(0) { $0 + $1.count }
    }

    @Test("between the reading of the activity and the call that takes somebody back")
    func unarchive() async throws {
        try await LinkedList.run(persons: 1, switches: .permissive) { list in
            try await list.quiet()
            try await list.put("0", isMember: false)
            try await list.quiet()
            try await list.control(
                "POST", "faults",
                #"{"effect": "hang", "milliseconds": 1500, "when": "before", "count": 1, "match": {"method": "PATCH"}}"#
            )
            try await list.put("0")
            struct Faults: Decodable {
                struct Fault: Decodable { var hits: Int }
                var faults: [Fault]
            }
            try await eventually("the call is under way") {
                try await list.control("GET", "faults").decode(Faults.self).faults[0].hits == 1
            }
            try await list.asContact("complain", list.address("0"))
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.membership("0") == "inactive complained")
            try await expectRestored(1, foundIn: "activity", list)
        }
    }

    @Test("that a hook brings after our call stands, unless the contact has opted in himself since")
    func hook() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            for id in ["0", "1"] {
                if id == "1" {
                    try await list.asContact("unsubscribe", list.address(id))
                    try await list.asContact("resubscribe", list.address(id))
                    try await list.pool.query(
                        "update koppeling.audience_member set subscribing_at = subscribing_at - interval '1 hour'")
                }
                let body = JSONText(
                    #"{"type": "unsubscribe", "data": {"action": "unsub", "reason": "manual", "email": "\#(list.address(id))"}}"#
                )
                try await list.pool.query(
                    "insert into koppeling.webhook_inbox (instance_id, body) values (1, \(body)::jsonb)")
                try await list.pool.query(
                    """
                    select koppeling.enqueue_internal('instance.webhooks', '{"instance": 1}', queue => 'instance-1',
                        key => 'webhooks', order_key => 'webhooks')
                    """)
                try await list.quiet()
            }
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("1")) == "subscribed")
            try await expectRestored(1, foundIn: "hook", list)
        }
    }

    /// Mailchimp's times have whole seconds: of two things in one of them the stricter counts.
    private func nextSecond() async throws {
        let second = Int(Date().timeIntervalSince1970)
        try await eventually("the second is over") { Int(Date().timeIntervalSince1970) > second }
    }

    @Test("of a user reaches a contact whom nobody claims, and one whom Mailchimp had unsubscribed before")
    func userNo() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.asContact("unsubscribe", list.address("0"))
            try await list.pull()
            try await nextSecond()
            try await list.asContact("resubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.status(list.address("0")) == "subscribed")
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "unsubscribed")
            try await nextSecond()
            // What he says himself after that is his last word.
            try await list.control("POST", "clock", #"{"advance": 5}"#)
            try await list.asContact("resubscribe", list.address("0"))
            try await list.pull()
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }
}
