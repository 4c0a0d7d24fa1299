import Foundation
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@Suite("koppeling merge-field, plan, action, task", .database)
struct LinkCommandTests {
    private struct Plan: Decodable { var id: Int, state: String, version: Int, joins: Int }
    private struct Field: Decodable { var tag: String, source: String? }
    private struct Action: Decodable { var id: Int, state: String, action: String }
    private struct Task: Decodable { var id: Int, kind: String, state: String }

    /// Links a list as "News", and puts so many persons of the newsletter.
    private func link(_ world: CommandWorld, persons: Int) async throws {
        await world.server.addList(name: "Nieuwsbrief")
        try await world.done("account connect --name Instituut", input: CommandWorld.key)
        let linked = try await world.done("instance link Instituut --name News")
        #expect(linked.output == "1  News  Mailchimp - News\n")
        let list = (1...persons).map {
            #"{"source": "crm", "id": "\#($0)", "given_name": "Jan", "family_name": "Berg \#($0)", "gender": "vrouw", "categories": ["Mailings / News"], "emails": {"zakelijk": "p\#($0)@post.koppeling.nl"}}"#
        }
        try await world.done("person put", input: "[\(list.joined(separator: ","))]")
    }

    private func plans(_ world: CommandWorld, _ more: String = "") async throws -> [Plan] {
        try await world.done("plan list --json " + more).decode()
    }

    @Test func `merge fields are listed page by page, mapped, made and left`() async throws {
        try await CommandWorld.run { world in
            try await link(world, persons: 1)
            try await world.done("instance dry-run News")
            #expect(try await world.done("instance status News --json").output.contains(#""dry_run":true"#))
            #expect(try await world.done("why crm 1", "Mailchimp - News").output.contains("It is a dry run"))
            let known: [Field] = try await world.done("merge-field list News --json").decode()
            #expect(known.first { $0.tag == "FNAME" }?.source == "first_name")
            let first: [Field] = try await world.done("merge-field list News --offline --json --limit 1").decode()
            let second: [Field] = try await world.done(
                "merge-field list 1 --offline --json --limit 1 --after", first[0].tag
            ).decode()
            #expect(first.map(\.tag) + second.map(\.tag) == known.prefix(2).map(\.tag))
            #expect(try await world.refused("merge-field map News AANHEF salutation").contains("make it in Mailchimp"))
            try await world.done("merge-field map News AANHEF salutation --make Aanhef --silent")
            try await world.done("merge-field gender News female V --title mw.")
            let made: [Field] = try await world.done("merge-field list News --offline --json").decode()
            #expect(made.first { $0.tag == "AANHEF" }?.source == "salutation")
            try await world.done("merge-field unmap News AANHEF")
            #expect(try await world.refused("merge-field unmap News AANHEF").contains("nothing fills"))
            #expect(try await world.refused("merge-field map News FNAME age").contains("\"age\" fills no field"))
            #expect(try await world.refused("merge-field list Other").contains("koppeling instance list"))
            #expect(try await world.refused("account connect").hasPrefix("koppeling: This is not a Mailchimp API key."))
            #expect(try await world.refused("account disconnect Instituut").contains("koppeling instance relink NAME"))
        }
    }

    @Test func `who signs up again is let in by a user, or by signing up`() async throws {
        struct Status: Decodable { var reactivate_on_resubscribe: Bool, keep_adopted: Bool }
        try await CommandWorld.run { world in
            try await link(world, persons: 1)
            func areOn() async throws -> [[Bool]] {
                try await world.done("instance status News --json").decode(Status.self)
                    .map { [$0.reactivate_on_resubscribe, $0.keep_adopted] }
            }
            #expect(try await areOn() == [[false, false]])
            try await world.done("instance reactivate-on-resubscribe News")
            #expect(try await areOn() == [[true, false]])
            try await world.done("instance keep-adopted News")
            try await world.done("instance reactivate-on-resubscribe 1 --off")
            #expect(try await areOn() == [[false, true]])
            #expect(
                try await world.refused("instance reactivate-on-resubscribe Other").contains("koppeling instance list"))
        }
    }

    @Test func `a plan is looked at, exported, discarded or approved as it was seen`() async throws {
        try await CommandWorld.run { world in
            try await link(world, persons: 3)
            let group = "Mailchimp - News"
            try await world.done("rule add", group, "Mailings / News")
            let plan = try #require(try await plans(world).first)
            #expect(plan.state == "held" && plan.joins == 3)
            let shown = try await world.done("plan show \(plan.id) --limit 2")
            #expect(shown.lines.count == 3 && shown.output.contains("Jan Berg 1"))
            #expect(shown.table.first?.prefix(4) == ["person", "source", "id", "name"])
            #expect(shown.table[1][1...2] == ["crm", "1"], "\(shown.output)")
            for (list, allowed) in [("plan", "dissolved"), ("action", "superseded")] {
                #expect(try await world.refused("\(list) list --state open", code: 2).contains(allowed))
            }
            let last = try await world.done("plan show \(plan.id) --json --after 2")
            #expect(last.lines.count == 1 && last.output.contains(#""cause":"rules""#))
            let causes = try await world.done("plan causes \(plan.id)")
            #expect(causes.table.last == ["rules", "join", "rule", "3"], "\(causes.output)")
            let export = try await world.done("plan export \(plan.id)")
            #expect(export.lines.count == 4 && export.lines[1].hasPrefix("crm,1,Jan Berg 1,p1@post.koppeling.nl,join"))

            let stale = try await world.refused("plan approve \(plan.id) --plan-version 99")
            #expect(stale.contains("you saw version 99"))
            let discarded = try await world.done("plan discard \(plan.id) --plan-version \(plan.version)")
            #expect(discarded.output == "0\n")
            #expect(try await world.done("rule list", group).output.isEmpty)
            try await world.done("rule add", group, "Mailings / News")
            let both = try await plans(world)
            #expect(both.map(\.state) == ["held", "discarded"])
            #expect(try await plans(world, "--state held").map(\.id) == [both[0].id])
            #expect(try await plans(world, "--before \(both[0].id)").map(\.id) == [both[1].id])

            let thresholds = try await world.done("plan thresholds", group, "--removals-count", "3", "--json")
            #expect(thresholds.output.contains(#""removals_count":3"#))
            #expect(try await world.refused("plan thresholds Nothing").contains("no linked target group"))
            let approved = try await world.done("plan approve \(both[0].id) --plan-version \(both[0].version)")
            #expect(approved.output == "3\n")
            #expect(try await world.refused("plan approve \(both[0].id) --plan-version 1").contains("applied already"))
            #expect(try await world.refused("plan discard 99 --plan-version 1").contains("there is no plan 99"))
            for missing in ["show", "causes", "export"] {
                #expect(try await world.refused("plan \(missing) 99").contains("there is no plan 99"), "\(missing)")
            }
        }
    }

    @Test func `actions that wait, or were rejected, are listed and run; tasks are settled`() async throws {
        try await CommandWorld.run { world in
            try await link(world, persons: 3)
            try await world.done("instance enable News")
            for template in ["create", "update"] { try await world.done("instance template News \(template) manual") }
            try await world.done("rule add", "Mailchimp - News", "Mailings / News")
            try await world.done("plan approve 1 --plan-version 1")
            let parked: [Action] = try await world.done("action list --state parked --instance News --json").decode()
            #expect(parked.map(\.action) == ["create", "create", "create"])
            let run = try await world.done("action run \(parked[0].id) 9999")
            #expect(run.output == "1\n" && run.errors.hasPrefix("1 of these neither wait"), "\(run.errors)")
            #expect(try await world.done("action run --all News --action update").output == "0\n")
            #expect(try await world.done("action run --all News").output == "2\n")
            #expect(try await world.refused("action run --all Other").contains("there is no instance \"Other\""))
            let usage = try await koppeling(["action", "run"], world.settings)
            #expect(usage.code == 2)
            #expect(try await world.done("action reasons").errors == "There are none.\n")

            let worker = try RunningProgram(["work"], world.settings)
            defer { worker.clean() }
            try await eventually("all are done", within: .seconds(60)) {
                try await world.done("action list --state done --json").lines.count == 3
            }
            let page: [Action] = try await world.done("action list --json --before \(parked[0].id)").decode()
            #expect(page.count == 2)
            let why = try await world.done("why crm 1", "Mailchimp - News")
            #expect(why.output.contains("subscribed"), "\(why.output)")

            try await TestDatabase.current.pool.query(
                "select koppeling.open_task('resubscribed', 1, 1, '{}'), koppeling.open_task('addressDiffers', 1, 2, '{}')"
            )
            let tasks: [Task] = try await world.done("task list --json --kind resubscribed").decode()
            #expect(tasks.count == 1)
            #expect(try await world.refused("task list --kind odd", code: 2).contains("none of resubscribed, address"))
            #expect(try await world.done("task done \(tasks[0].id)").output == "1\n")
            #expect(try await world.done("task done \(tasks[0].id)").output == "0\n")
            #expect(try await world.refused("task done 99").contains("there is no task 99"))
            let all: [Task] = try await world.done("task list --all --json").decode()
            #expect(Set(all.map(\.state)) == ["open", "done"])
        }
    }
}
