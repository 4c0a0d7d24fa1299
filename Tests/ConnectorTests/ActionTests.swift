import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// What a person does with actions: run, run again, and look at what comes and goes.
@Suite("Actions", .database)
struct ActionTests {
    private func ids(_ list: LinkedList, _ state: String) async throws -> [Int64] {
        try await list.pool.query("select id from koppeling.actions where state = \(state) order by id")
            .map { try $0.decode("id") }
    }

    private func openTasks(_ list: LinkedList, _ kind: String) async throws -> Int64 {
        try await list.pool.query("select count(*) from koppeling.tasks where kind = \(kind) and state = 'open'")
            .scalar()
    }

    @Test("wait for a person, and are run one by one, all of one template, or all")
    func waiting() async throws {
        try await LinkedList.run(persons: 6) { list in
            let name = list.instance.name
            try await list.quiet()
            for template in ["create", "update", "delete"] {
                try await list.instances.setAutomatic(false, template: template, instance: name)
            }
            for id in 0..<2 { try await list.put("\(id)", isMember: false) }
            for id in 2..<5 { try await list.put("\(id)", #"{"given_name": "Piet"}"#) }
            try await list.put("6")
            try await list.put("7")
            try await list.quiet()
            let parked = try await ids(list, "parked")
            #expect(parked.count == 7)
            let one: Int64 = try await list.pool.query("select koppeling.run_actions(\([parked[0]]))").scalar()
            #expect(one == 1)
            try await list.quiet()
            #expect(try await ids(list, "parked") == Array(parked.dropFirst()))
            let updates: Int64 = try await list.pool.query("select koppeling.run_waiting_actions(\(name), 'update')")
                .scalar()
            #expect(updates == 3)
            try await list.quiet()
            #expect(try await list.contact(list.address("4"))?.merge_fields["FNAME"] == "Piet")
            #expect(try await list.status(list.address("7")) == nil)
            // What waits keeps its mode, whatever becomes of the template.
            try await list.instances.setAutomatic(true, template: "create", instance: name)
            try await list.quiet()
            #expect(try await list.status(list.address("7")) == nil)
            let rest: Int64 = try await list.pool.query("select koppeling.run_waiting_actions(\(name))").scalar()
            #expect(rest == 3)
            try await list.quiet()
            #expect(try await list.status(list.address("7")) == "subscribed")
            #expect(try await list.status(list.address("1")) == "archived")
        }
    }

    @Test("wait for nobody where a no binds: its archive runs at once, also one that waited already")
    func archivesOfNoes() async throws {
        try await LinkedList.run(persons: 3) { list in
            func has(_ id: String, isMember: Bool) async throws {
                let emails = #"{"zakelijk": "\#(list.address(id))", "prive": "prive\#(id)@post.koppeling.nl"}"#
                try await list.put(id, isMember: isMember, #"{"emails": \#(emails)}"#)
            }
            try await list.instances.setAutomatic(false, template: "delete", instance: list.instance.name)
            try await list.quiet()
            try await has("0", isMember: true)
            try await has("1", isMember: false)
            try await has("2", isMember: false)
            try await list.quiet()
            #expect(try await ids(list, "parked").count == 2)
            // Each says no at the other address that they have.
            for id in 0..<2 {
                try await list.control(
                    "POST", "lists/\(list.list)/contacts", #"{"email_address": "prive\#(id)@post.koppeling.nl"}"#)
                try await list.asContact("unsubscribe", "prive\(id)@post.koppeling.nl")
            }
            try await list.pull()
            #expect(try await list.membership("0") == "inactive unsubscribed")
            #expect(try await list.status(list.address("0")) == "archived", "left by the no")
            #expect(try await list.status(list.address("1")) == "archived", "left before it")
            #expect(try await list.status(list.address("2")) == "subscribed")
            #expect(try await ids(list, "parked").count == 1)
        }
    }

    @Test("that are open keep their mode when the template is set to manual, and when it is set back to automatic")
    func modes() async throws {
        try await LinkedList.run(persons: 1) { list in
            let name = list.instance.name
            try await list.quiet()
            try await list.hold(true)
            for (id, count) in [(5, 1), (6, 2), (7, 3)] as [(Int, Int64)] {
                try await list.instances.setAutomatic(id != 6, template: "create", instance: name)
                try await list.put("\(id)")
                try await list.staged(count)
            }
            try await list.instances.setAutomatic(false, template: "create", instance: name)
            try await list.hold(false)
            try await list.quiet()
            for id in [5, 7] { #expect(try await list.status(list.address("\(id)")) == "subscribed") }
            #expect(try await list.status(list.address("6")) == nil)
            try await list.instances.setAutomatic(true, template: "create", instance: name)
            try await list.quiet()
            #expect(try await list.status(list.address("6")) == nil)
            let run: Int64 = try await list.pool.query("select koppeling.run_waiting_actions(\(name))").scalar()
            #expect(run == 1)
            try await list.quiet()
            #expect(try await list.status(list.address("6")) == "subscribed")
        }
    }

    @Test("that were rejected are listed by reason, run again all with the same, and superseded by what comes after")
    func rejected() async throws {
        var switches = SandboxSwitches()
        switches.refusesFakeAddresses = true
        try await LinkedList.run(persons: 1, switches: switches) { list in
            for id in 1..<4 { try await list.put("\(id)", #"{"emails": {"zakelijk": "jan\#(id)@example.com"}}"#) }
            try await list.quiet()
            #expect(try await ids(list, "rejected").count == 3)
            let reasons = try await list.pool.query("select reason, actions from koppeling.rejected_reasons")
            #expect(reasons.count == 1)
            let reason: String = try #require(reasons.first).decode("reason")
            #expect(reason.contains("looks fake") && !reason.contains("example.com"))
            // Another address: what was rejected for the old one is nobody's concern any more.
            try await list.put("3")
            try await list.quiet()
            #expect(try await list.status(list.address("3")) == "subscribed")
            try await list.control("PATCH", "switches", #"{"refuses_fake_addresses": false}"#)
            let other: Int64 = try await list.pool.query(
                "select koppeling.run_rejected_actions(\(list.instance.name), 'another reason')"
            ).scalar()
            #expect(other == 0)
            let again: Int64 = try await list.pool.query(
                "select koppeling.run_rejected_actions(\(list.instance.name), \(reason), 'create')"
            ).scalar()
            #expect(again == 3)
            try await list.quiet()
            #expect(try await ids(list, "rejected").isEmpty)
            for id in 1..<3 { #expect(try await list.status("jan\(id)@example.com") == "subscribed") }
            #expect(try await list.status("jan3@example.com") == nil)
        }
    }

    @Test("An address that comes and goes more than three times an hour is parked with a task, but its archive never")
    func oscillation() async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            for _ in 0..<2 {
                try await list.put("0", isMember: false)
                try await list.quiet()
                #expect(try await list.status(list.address("0")) == "archived")
                #expect(try await openTasks(list, "oscillation") == 0)
                try await list.put("0")
                try await list.quiet()
            }
            #expect(try await list.status(list.address("0")) == "archived")
            #expect(try await ids(list, "parked").count == 1)
            #expect(try await openTasks(list, "oscillation") == 1)
            let run: Int64 = try await list.pool.query("select koppeling.run_actions(\(try await ids(list, "parked")))")
                .scalar()
            #expect(run == 1)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "subscribed")
            #expect(try await openTasks(list, "oscillation") == 0)
            try await list.put("0", isMember: false)
            try await list.quiet()
            #expect(try await list.status(list.address("0")) == "archived")
        }
    }

    @Test("A template is removed only while the instance is off, which is not turned on without it")
    func templates() async throws {
        try await LinkedList.run { list in
            let name = list.instance.name
            let refused = await #expect(throws: PostgresError.self) {
                try await list.instances.removeTemplate("delete", instance: name)
            }
            #expect(refused?.message.contains("needs its template delete") == true)
            try await list.instances.setEnabled(false, instance: name)
            try await list.instances.removeTemplate("delete", instance: name)
            let lacking = await #expect(throws: PostgresError.self) {
                try await list.instances.setEnabled(true, instance: name)
            }
            #expect(lacking?.message.contains("lacks the template delete") == true)
            try await list.instances.setAutomatic(false, template: "delete", instance: name)
            try await list.instances.setEnabled(true, instance: name)
            await #expect(throws: ConnectorError.self) {
                try await list.instances.setAutomatic(true, template: "erase", instance: name)
            }
        }
    }

    @Test("An address that somebody else's no blocks is a task; one is settled once; a group that is invalid too")
    func tasks() async throws {
        try await LinkedList.run(persons: 3) { list in
            try await list.quiet()
            // The no is the first person's, said of an address he had; the second comes to hold his present one too.
            try await list.pool.query("select koppeling.unsubscribe_person('test', '0')")
            try await list.put("0", #"{"emails": {"privé": "samen@post.koppeling.nl"}}"#)
            try await list.quiet()
            try await list.put("1", #"{"emails": {"zakelijk": "samen@post.koppeling.nl"}}"#)
            try await list.quiet()
            #expect(try await list.status("samen@post.koppeling.nl") == nil)
            #expect(try await list.status(list.address("1")) == "archived", "the address that he has no more")
            #expect(try await openTasks(list, "addressBlocked") == 1)
            let task: Int64 = try await list.pool.query(
                "select id from koppeling.tasks where kind = 'addressBlocked' and person = 'Jan Berg 1'"
            ).scalar()
            for open in [1, 0] as [Int64] {
                let done: Int64 = try await list.pool.query("select koppeling.finish_tasks(\([task]), 'test')").scalar()
                #expect(done == open)
            }
            let unknown = await #expect(throws: PostgresError.self) {
                try await list.pool.query("select koppeling.finish_tasks('{987654}', 'test')")
            }
            #expect(unknown?.hint?.contains("List the tasks") == true)
            for valid in [false, false, true] {
                try await list.pool.query("update koppeling.target_group set valid = \(valid)")
                #expect(try await openTasks(list, "groupInvalid") == (valid ? 0 : 1))
            }
        }
    }
}
