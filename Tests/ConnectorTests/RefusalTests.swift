import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What Mailchimp refuses: one person's action, or so much that something else is wrong.
@Suite("Refusals", .database)
struct RefusalTests {
    private func pausedReason(_ list: LinkedList) async throws -> String? {
        try await list.pool.query("select paused_reason from koppeling.connector_instance").scalar()
    }

    @Test("of more than 2 % of the last thousand actions pause the instance, however many went well before")
    func tooMany() async throws {
        var switches = SandboxSwitches()
        switches.refusesFakeAddresses = true
        try await LinkedList.run(persons: 1, switches: switches) { list in
            try await list.put(1..<1500)
            try await list.quiet()
            try await list.put(1500..<1520, domain: "example.com")
            try await list.quiet()
            let rejected: Int64 = try await list.pool.query(
                "select count(*) from koppeling.actions where state = 'rejected'"
            )
            .scalar()
            #expect(rejected == 20)
            #expect(try await pausedReason(list) == nil)
            try await list.put(1520..<1521, domain: "example.com")
            try await list.quiet()
            #expect(try await pausedReason(list) == "21 of the last 1000 actions were rejected")
            let tasks: Int64 = try await list.pool.query(
                "select count(*) from koppeling.tasks where kind = 'rejections' and state = 'open'"
            ).scalar()
            #expect(tasks == 1)

            try await list.put("2000")
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("2000")) == nil)
            #expect(try await list.status(list.address("0")) == "archived")

            // Once somebody has looked at it, what was rejected before counts no more.
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await list.put(2001..<2002, domain: "example.com")
            try await list.quiet()
            #expect(try await pausedReason(list) == nil)
        }
    }

    @Test("of a few among less than a hundred are those persons' alone; three of a hundred pause the instance")
    func few() async throws {
        var switches = SandboxSwitches()
        switches.refusesFakeAddresses = true
        try await LinkedList.run(persons: 1, switches: switches) { list in
            try await list.put(1..<96)
            try await list.put(96..<99, domain: "example.com")
            try await list.quiet()
            #expect(try await pausedReason(list) == nil)
            try await list.put(99..<100)
            // What goes well is counted once it is recorded.
            try await eventually("the hundredth is counted") {
                try await pausedReason(list) == "3 of the last 100 actions were rejected"
            }
        }
    }

    @Test(
        "of the account stop what waits: of sixty persons only those are tried that were under way",
        arguments: [
            "compliance", "contact_limit",
        ])
    func account(effect: String) async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.quiet()
            try await list.hold(true)
            try await list.put(1..<61)
            try await list.staged(60)
            try await list.control("POST", "faults", #"{"effect": "\#(effect)", "match": {"method": "POST"}}"#)
            try await list.hold(false)
            try await list.quiet()
            #expect(try await pausedReason(list) != nil)
            struct Faults: Decodable {
                struct Fault: Decodable { var hits: Int }
                var faults: [Fault]
            }
            let faults: Faults = try await list.control("GET", "faults").decode()
            let hits = try #require(faults.faults.first).hits
            #expect((1...11).contains(hits), "the call for all, then ten at once: \(hits)")
            let rejected: Int64 = try await list.pool.query(
                "select count(*) from koppeling.actions where state = 'rejected'"
            )
            .scalar()
            #expect(rejected == 0)
            #expect(
                try await list.pool.query("select authenticated from koppeling.mailchimp_account").scalar(as: Bool.self)
            )
        }
    }

    @Test("that come of attempts which all failed count as well")
    func exhausted() async throws {
        try await LinkedList.run(persons: 1) { list in
            try await list.put(1..<100)
            try await list.quiet()
            try await list.hold(true)
            try await list.put(100..<110)
            try await list.staged(10)
            try await list.pool.query("update koppeling.job set max_attempts = 1 where kind = 'action'")
            try await list.control("POST", "faults", #"{"effect": "500", "match": {"method": "POST"}}"#)
            try await list.hold(false)
            try await list.quiet()
            try await eventually("it is paused") { try await pausedReason(list) != nil }
            let rejected: Int64 = try await list.pool.query(
                "select count(*) from koppeling.actions where state = 'rejected'"
            ).scalar()
            #expect(rejected >= 3)
        }
    }

    @Test("of 21 pause the instance after a million actions that went well, and of 20 do not")
    func million() {
        var outcomes = RecentOutcomes()
        for _ in 0..<1000 { outcomes.add(1000, rejected: false) }
        outcomes.add(20, rejected: true)
        #expect(outcomes.excess == nil)
        outcomes.add(979, rejected: false)
        outcomes.add(rejected: true)
        #expect(outcomes.excess == "21 of the last 1000 actions were rejected")
        outcomes.add(rejected: true)
        #expect(outcomes.excess == "21 of the last 1000 actions were rejected", "the oldest counts no more")
        outcomes.add(1, rejected: false)
        #expect(outcomes.excess == nil)
    }
}
