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

    private func plans(_ world: CommandWorld, _ more: String = "") async throws -> [Plan] {
        try await world.done("plan list --json " + more).decode()
    }

    @Test func `merge fields are listed page by page, mapped, made and left`() async throws {
        try await CommandWorld.run { world in
            try await world.link(persons: 1)
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
            let lacking = try await world.refused("merge-field map News AANHEF salutation")
            #expect(lacking.contains("make it in Mailchimp, or let it be made: --make NAME"), "\(lacking)")
            try await world.done("merge-field map News AANHEF salutation --make Aanhef --silent")
            try await world.done("merge-field gender News female V --title mw.")
            let made: [Field] = try await world.done("merge-field list News --offline --json").decode()
            #expect(made.first { $0.tag == "AANHEF" }?.source == "salutation")
            let words = try await world.done("merge-field gender News")
            #expect(words.table.contains(["female", "V", "mw."]), "\(words.output)")
            try await world.done("instance template News update manual")
            let modes = try await world.done("instance status News --json").output
            #expect(
                modes.contains(#""templates":{"create": "automatic", "delete": "automatic", "update": "manual"}"#),
                "\(modes)")
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
            try await world.link(persons: 1)
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
            try await world.link(persons: 3)
            let group = "Mailchimp - News"
            let dry = try await world.done("rule add", group, "Mailings / News", "--dry-run")
            #expect(dry.output.contains("3 join, 0 leave"), "\(dry.output)")
            let saved = try await world.done("rule add", group, "Mailings / News")
            let plan = try #require(try await plans(world).first)
            #expect(saved.output.contains("Plan \(plan.id) holds what follows in Mailchimp (first activation)"))
            #expect(plan.state == "held" && plan.joins == 3)
            let shown = try await world.done("plan show \(plan.id) --limit 2")
            #expect(shown.lines.count == 3 && shown.output.contains("Jan Berg 1"))
            #expect(shown.table.first?.prefix(4) == ["person", "source", "id", "name"])
            #expect(shown.table[1][1...2] == ["crm", "1"], "\(shown.output)")
            let heading = "Plan \(plan.id), version \(plan.version), held: first activation.\n"
            for command in ["show", "causes", "export"] {
                #expect(try await world.done("plan \(command) \(plan.id)").errors == heading, "\(command)")
            }
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
            let decided = try await world.done("plan show \(both[0].id)").errors
            #expect(decided.contains(", applied: first activation; by cli:ann at 20"), "\(decided)")
            let listed = try await world.done("plan list --state applied --json").output
            #expect(listed.contains(#""decided_by":"cli:ann""#) && listed.contains(#""decided_at":"20"#), "\(listed)")
            #expect(try await world.refused("plan approve \(both[0].id) --plan-version 1").contains("applied already"))
            #expect(try await world.refused("plan discard 99 --plan-version 1").contains("there is no plan 99"))
            for missing in ["show", "causes", "export"] {
                #expect(try await world.refused("plan \(missing) 99").contains("there is no plan 99"), "\(missing)")
            }
        }
    }

    @Test func `actions that wait, or were rejected, are listed and run; tasks are settled`() async throws {
        try await CommandWorld.run { world in
            try await world.link(persons: 3)
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
            #expect(try await world.refused("action run 999999").contains("there is no action 999999"))
            #expect(try await world.refused("action list --instance Other").contains("there is no instance \"Other\""))
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
            try await TestDatabase.current.pool.query(
                """
                with moved as (
                    update koppeling.audience_member set address = 'elders@post.koppeling.nl', address_key = 'elders@post.koppeling.nl'
                    where id = (select min(id) from koppeling.audience_member) returning id
                )
                update koppeling.task t set detail = jsonb_build_object('member', m.id), person_id = c.person_id
                from moved m join koppeling.claim c on c.member_id = m.id
                where t.kind = 'addressDiffers'
                """)
            let moved = try await world.done("task list --json --kind addressDiffers").output
            #expect(moved.contains(#""source":"crm","id":"1""#) || moved.contains(#""source":"crm","external_id":"1""#))
            #expect(moved.contains(#""contact":"elders@post.koppeling.nl""#), "\(moved)")
            #expect(moved.contains(#""address":"p1@post.koppeling.nl""#), "\(moved)")
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

    @Test func `linking is refused for a kind that nobody has, an empty name, and the dry run counts who has one`()
        async throws
    {
        try await CommandWorld.run { world in
            await world.server.addList(name: "Nieuwsbrief")
            try await world.done("account connect --name Instituut", input: CommandWorld.key)
            // Nobody has any address yet: who can tell.
            try await world.done("instance link Instituut --email-kind prive --dry-run")
            try await world.done(
                "person put",
                input:
                    #"[{"source": "crm", "id": "1", "emails": {"privé": "a@x.nl", "zakelijk": "b@x.nl"}}, {"source": "crm", "id": "2", "emails": {"privé": "c@x.nl"}}]"#
            )
            for more in ["", " --dry-run"] {
                let refused = try await world.refused("instance link Instituut --email-kind prive" + more)
                #expect(
                    refused.contains("nobody has an e-mail address of the kind \"prive\": there are privé, zakelijk"))
                let unnamed = try await world.refused("instance link Instituut" + more, "--name", " ")
                #expect(unnamed.contains("name of 1 to"), "\(unnamed)")
            }
            let dry = try await world.done("instance link Instituut --email-kind Privé --dry-run")
            #expect(dry.lines.contains("e-mail address: privé, which 2 persons have"), "\(dry.output)")
            try await world.done("instance link Instituut --email-kind Privé --name News")
        }
    }

    @Test func `a withdrawn key is told with what to do`() async throws {
        try await CommandWorld.run { world in
            try await world.link(persons: 1)
            await world.server.addList(name: "Andere")
            try await world.revokeKey()
            for command in [
                "instance pull News --dry-run", "merge-field list News", "instance link Instituut --dry-run",
            ] {
                let told = try await world.refused(command)
                #expect(
                    told.contains("refuses the account's key") && told.contains("koppeling account renew"), "\(told)")
            }
        }
    }
}
