import Postgres
import TestSupport
import Testing

@testable import Connector

/// The brake between what is wanted and what is sent.
@Suite("A change plan", .database)
struct PlanTests {
    private func held(_ list: LinkedList) async throws -> Plans.Plan? {
        try await Plans(pool: list.pool).list().first { $0.state == "held" }
    }

    @Test("holds more than 25 removals within a day, applies them when approved, and refuses a stale approval")
    func removals() async throws {
        try await LinkedList.run(persons: 40) { list in
            try await list.quiet()
            for id in 0..<30 { try await list.put("\(id)", isMember: false) }
            try await list.quiet()
            let plan = try #require(try await held(list))
            #expect(plan.leaves > 0)
            let left = try await list.pool.query(
                "select count(*) from koppeling.membership where status = 'inactive'"
            ).scalar(as: Int64.self)
            #expect(left == 30)
            // What was let through before the brake, and what the plan holds, are all of them.
            let archived = try await list.pool.query(
                "select count(*) from koppeling.audience_member where status = 'archived'"
            ).scalar(as: Int64.self)
            #expect(archived <= 25)
            #expect(Int(archived) + plan.leaves == 30)
            let plans = Plans(pool: list.pool)
            await #expect(throws: PostgresError.self) {
                _ = try await plans.approve(plan: plan.id, version: plan.version + 1, actor: "test")
            }
            let lines = try await plans.lines(plan: plan.id)
            #expect(lines.count == plan.leaves)
            #expect(lines.allSatisfy { $0.change == "leave" && $0.reason == "ruleNoLongerMatches" })
            #expect(try await plans.approve(plan: plan.id, version: plan.version, actor: "test") == plan.leaves)
            try await list.quiet()
            #expect(try await list.status(list.address("29")) == "archived")
        }
    }

    @Test("is rewritten by later facts, and dissolves when they are taken back")
    func rewritten() async throws {
        try await LinkedList.run(persons: 40) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            for id in 0..<3 { try await list.put("\(id)", isMember: false) }
            try await list.quiet()
            #expect(try await held(list)?.leaves == 3)
            try await list.put("0")
            try await list.quiet()
            #expect(try await held(list)?.leaves == 2)
            for id in 1..<3 { try await list.put("\(id)") }
            try await list.quiet()
            #expect(try await held(list) == nil)
            #expect(try await list.status(list.address("1")) == "subscribed")
        }
    }

    @Test("never holds a no, nor a removal by hand")
    func exempt() async throws {
        try await LinkedList.run(persons: 10) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await held(list)?.leaves == 1)
            try await list.pool.query("select koppeling.unsubscribe_person('test', '1')")
            try await list.decide("exclude", "2")
            try await list.quiet()
            #expect(try await list.status(list.address("1")) == "unsubscribed")
            #expect(try await list.status(list.address("2")) == "archived")
            #expect(try await list.status(list.address("0")) == "subscribed")
        }
    }

    @Test("never holds a no of somebody who is archived as well")
    func archivedToo() async throws {
        try await LinkedList.run(persons: 4) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            try await list.pool.query(
                """
                with archived as (
                    update koppeling.person set state = 'archived' where external_id in ('0', '1') returning id
                )
                select koppeling.request_evaluation(array_agg(id), 'import of persons.csv') from archived
                """)
            try await list.quiet()
            #expect(try await held(list)?.leaves == 2)
            try await list.pool.query(
                """
                select koppeling.open_suppression(g.id, 'unsubscribed', null, null,
                    array[koppeling.find_person('test', '1')], 'mailchimp', koppeling.now(), '{}')
                from koppeling.target_group g
                """)
            try await list.quiet()
            #expect(try await list.status(list.address("1")) == "archived")
            #expect(try await held(list)?.leaves == 1)
        }
    }

    @Test("never holds what one person's change by hand means for that person, and goes on holding the rest")
    func byHand() async throws {
        try await LinkedList.run(persons: 5) { list in
            try await list.decide("include", "0")
            try await list.put("0", isMember: false)
            try await list.quiet()
            try await list.pool.query(
                """
                update koppeling.connector_instance
                set removals_count = 0, removals_share = 0, joins_count = 0, joins_share = 0
                """)
            try await list.decide("none", "0")
            try await list.pool.query("select koppeling.archive_person('test', '1')")
            try await list.decide("exclude", "2")
            try await list.quiet()
            for id in 0..<3 { #expect(try await list.status(list.address("\(id)")) == "archived", "person \(id)") }
            #expect(try await held(list) == nil)
            try await list.put("3", isMember: false)
            try await list.put("6")
            try await list.quiet()
            try await list.pool.query("select koppeling.reactivate_person('test', '1')")
            try await list.decide("none", "2")
            try await list.quiet()
            for id in 1..<4 { #expect(try await list.status(list.address("\(id)")) == "subscribed", "person \(id)") }
            let plan = try #require(try await held(list))
            #expect(plan.leaves == 1 && plan.joins == 1)
            // Somebody else's hand lets the one go who is held.
            try await list.decide("exclude", "3")
            try await list.quiet()
            #expect(try await list.status(list.address("3")) == "archived")
            #expect(try await list.status(list.address("6")) == nil)
            try await list.asAdmin("archive", list.address("4"))
            try await list.pull()
            #expect(try await list.membership("4") == "inactive removedInMailchimp")
            try await list.pool.query(
                "select koppeling.readmit_person('test', '4', g.name, 'piet') from koppeling.target_group g")
            try await list.quiet()
            #expect(try await list.status(list.address("4")) == "subscribed")
        }
    }

    @Test("holds names that would be emptied, and the old names stay in the list")
    func emptied() async throws {
        try await LinkedList.run(persons: 10) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            try await list.put("3", #"{"given_name": null, "initials": null}"#)
            try await list.quiet()
            #expect(try await held(list)?.emptied == 1)
            #expect(try await list.contact(list.address("3"))?.merge_fields["FNAME"] == "Jan")
        }
    }

    private func saveRules(_ list: LinkedList, _ rules: String) async throws {
        try await list.pool.query(
            """
            select koppeling.save_rules(g.id, g.rules_version, \(JSONText(rules))::jsonb, true, 'test')
            from koppeling.target_group g
            """)
    }

    private func rules(_ list: LinkedList) async throws -> String {
        try await list.pool.query("select koppeling.rules_json(id)::text from koppeling.target_group").scalar()
    }

    @Test("that rules caused names them, and is discarded by putting back the rules of before, also after two edits")
    func discarded() async throws {
        try await LinkedList.run(persons: 30) { list in
            for id in 0..<3 {
                try await list.put("\(id)", #"{"categories": ["\#(LinkedList.category)", "Groep / Bestuur"]}"#)
            }
            try await list.quiet()
            let before = try await rules(list)
            try await saveRules(list, #"[[{"value": "Groep / Bestuur", "negated": false}]]"#)
            try await saveRules(list, "[]")
            try await list.quiet()
            let plan = try #require(try await held(list))
            #expect(plan.leaves == 30)
            let plans = Plans(pool: list.pool)
            let lines = try await plans.lines(plan: plan.id)
            #expect(lines.allSatisfy { $0.cause == "rules" && $0.reason == "ruleNoLongerMatches" })
            let stale = await #expect(throws: PostgresError.self) {
                _ = try await plans.discard(plan: plan.id, version: plan.version - 1, actor: "test")
            }
            #expect(stale?.sqlState == "KS001")
            #expect(try await plans.discard(plan: plan.id, version: plan.version, actor: "test") == 0)
            try await list.quiet()
            #expect(try await rules(list) == before)
            #expect(try await held(list) == nil)
            #expect(try await plans.list().first?.state == "discarded")
            #expect(try await list.status(list.address("29")) == "subscribed")
            let again = await #expect(throws: PostgresError.self) {
                _ = try await plans.discard(plan: plan.id, version: plan.version, actor: "test")
            }
            #expect(again?.message.contains("discarded already") == true)
        }
    }

    @Test("that facts caused is not discarded but corrected; it names the import, also where only addresses went")
    func corrected() async throws {
        try await LinkedList.run(persons: 6) { list in
            try await list.quiet()
            try await list.pool.query("update koppeling.connector_instance set removals_count = 0, removals_share = 0")
            try await list.put("0", isMember: false)
            try await list.quiet()
            for id in 1..<3 {
                try await list.pool.query(
                    """
                    with gone as (
                        delete from koppeling.email_address
                        where person_id = koppeling.find_person('test', \("\(id)")) returning person_id
                    )
                    select koppeling.request_evaluation(array_agg(person_id), 'import of persons.csv') from gone
                    """)
            }
            try await list.quiet()
            let plan = try #require(try await held(list))
            #expect(plan.leaves == 3)
            let plans = Plans(pool: list.pool)
            let causes = try await plans.lines(plan: plan.id).map { "\($0.cause): \($0.reason)" }
            #expect(
                causes == [
                    "put: ruleNoLongerMatches", "import of persons.csv: noAddress", "import of persons.csv: noAddress",
                ])
            let refused = await #expect(throws: PostgresError.self) {
                _ = try await plans.discard(plan: plan.id, version: plan.version, actor: "test")
            }
            #expect(refused?.message.contains("2 by import of persons.csv, 1 by put") == true)
            #expect(refused?.hint?.contains("Correct the facts") == true)
            let csv = Collected()
            try await plans.export(plan: plan.id) { await csv.add($0) }
            let text = await csv.text
            let table = text.split(separator: "\n").map(String.init)
            #expect(table.count == 4 && table[0] == "source,id,name,address,change,reason,cause,rule,fields")
            #expect(table[1] == "test,0,Jan Berg 0,persoon0@post.koppeling.nl,leave,ruleNoLongerMatches,put,,")
            for id in 0..<3 { try await list.put("\(id)") }
            try await list.quiet()
            #expect(try await held(list) == nil)
        }
    }

    @Test("is held beyond the group's own thresholds")
    func thresholds() async throws {
        try await LinkedList.run(persons: 5) { list in
            try await list.quiet()
            let group = list.instance.targetGroup
            try await list.pool.query(
                """
                select koppeling.set_thresholds(\(group), '{"removals_count": 1, "removals_share": 0.5}', 'test')
                """)
            for id in 0..<2 { try await list.put("\(id)", isMember: false) }
            try await list.quiet()
            #expect(try await held(list) == nil)
            try await list.put("2", isMember: false)
            try await list.quiet()
            #expect(try await held(list)?.heldBecause == "3 removals within a day of 3 members")
            for bad in [#"{"removals_share": 1.5}"#, #"{"joins_cap": -1}"#, #"{"joins_cap": "5"}"#, #"{"jons": 5}"#] {
                await #expect(throws: PostgresError.self, "\(bad)") {
                    try await list.pool.query(
                        "select koppeling.set_thresholds(\(group), \(JSONText(bad))::jsonb, 'test')")
                }
            }
        }
    }
}

/// What an export wrote.
private actor Collected {
    private var bytes: [UInt8] = []

    var text: String { String(decoding: bytes, as: UTF8.self) }

    func add(_ piece: [UInt8]) { bytes += piece }
}
