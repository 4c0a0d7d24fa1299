import Connector
import FoundationEssentials
import HTTPClient
import MailchimpSandbox
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("The link over HTTP", .database)
struct LinkDoorTests {
    private let pool = TestDatabase.current.pool

    private func count(_ query: Query) async throws -> Int64 { try await pool.query(query).scalar() }

    private func audited(_ kind: String) async throws -> [String] {
        let rows = try await pool.query(
            """
            select actor || ': ' || coalesce(new, 'null')::text as entry from koppeling.audit_entry
            where kind = \(kind)
            order by id
            """)
        return try rows.map { try $0.decode("entry") }
    }

    /// Links a list of the sandbox, and knocks with a token that may see and steer everything about the link.
    private func run(_ body: (SandboxAtWork, Knock) async throws -> Void) async throws {
        try await SandboxAtWork.run { sandbox in
            await sandbox.server.addList(name: "Nieuwsbrief")
            let accounts = Accounts(pool: pool, vault: sandbox.vault, http: sandbox.http, rootOverride: sandbox.root)
            let instances = Instances(pool: pool, accounts: accounts, vault: sandbox.vault)
            let account = try await accounts.connect(apiKey: SandboxAtWork.key, name: "Instituut")
            _ = try await instances.link(
                account: account, list: nil, name: "News/1", emailKind: "work", actor: "test")
            let tokens = APITokens(pool: pool)
            let token = try await tokens.create(name: "desk", rights: [.groups, .link, .disclose])
            let blind = try await tokens.create(name: "blind", rights: [.link])
            try await withServiceCenter(
                vault: sandbox.vault, instances: instances,
                mergeFields: MergeFields(pool: pool, accounts: accounts)
            ) { door in
                try await body(sandbox, Knock(door: door, token: token, blind: blind))
            }
        }
    }

    /// Requests with a token.
    struct Knock {
        static let instance = "/api/v1/instances/News%2F1"
        static let group = "/api/v1/groups/Mailchimp%20-%20News%2F1"

        var door: Door
        var token: String
        /// One that may not see whom it is about.
        var blind: String

        func get(_ path: String) async throws -> HTTPResponse { try await door.send("GET", path, token: token) }

        @discardableResult
        func send(_ method: String, _ path: String, _ body: String = "") async throws -> HTTPResponse {
            try await door.send(method, path, token: token, body: body)
        }

        /// What a fault says of its field.
        func fault(_ method: String, _ path: String, _ body: String) async throws -> String? {
            let answer = try await send(method, path, body)
            return "\(answer.status) \(try answer.decode(ToldProblem.self).field ?? "-")"
        }
    }

    private struct Status: Decodable {
        var instance: String, enabled: Bool, dry_run: Bool, reactivate_on_resubscribe: Bool, keep_adopted: Bool
        var templates: [String: String]
    }

    @Test func anInstanceIsShownAndDecidedUpon() async throws {
        try await run { _, knock in
            struct Page: Decodable {
                var instances: [Named]
                var next: String?
            }
            struct Named: Decodable { var instance: String }
            let page = try await knock.get("/api/v1/instances?limit=1").decode(Page.self)
            #expect(page.instances.map(\.instance) == ["News/1"] && page.next == "News/1")
            let rest = try await knock.get("/api/v1/instances?after=News%2F1").decode(Page.self)
            #expect(rest.instances.isEmpty && rest.next == nil)

            for _ in 1...2 {
                let on = try await knock.send("POST", Knock.instance + "/enable")
                #expect(try on.decode(Status.self).enabled)
                let manual = try await knock.send("PUT", Knock.instance + "/templates/create", #"{"mode": "manual"}"#)
                #expect(try manual.decode(Status.self).templates["create"] == "manual")
                let dry = try await knock.send("PUT", Knock.instance + "/dry-run", #"{"on": true}"#)
                #expect(try dry.decode(Status.self).dry_run)
                let back = try await knock.send("PUT", Knock.instance + "/reactivate-on-resubscribe", #"{"on": true}"#)
                #expect(try back.decode(Status.self).reactivate_on_resubscribe)
                let kept = try await knock.send("PUT", Knock.instance + "/keep-adopted", #"{"on": true}"#)
                #expect(try kept.decode(Status.self).keep_adopted)
                let pulled = try await knock.send("POST", Knock.instance + "/pull", #"{"full": true}"#).status
                #expect(pulled == 202)
            }
            #expect(try await count("select count(*) from koppeling.job where kind = 'instance.pull'") == 1)
            let kept = try await knock.send("DELETE", Knock.instance + "/templates/delete")
            #expect(kept.status == 409)
            let off = try await knock.send("POST", Knock.instance + "/disable")
            #expect(try off.decode(Status.self).enabled == false)
            let removed = try await knock.send("DELETE", Knock.instance + "/templates/delete")
            #expect(try removed.decode(Status.self).templates["delete"] == nil)
            let lacking = try await knock.send("POST", Knock.instance + "/enable")
            #expect(lacking.status == 409)
            #expect(try lacking.decode(ToldProblem.self).detail.contains("lacks the template delete"))

            #expect(try await audited("instance.enabled") == ["token desk: true", "token desk: false"])
            #expect(try await audited("instance.dryRun") == ["token desk: true"])
            #expect(try await audited("instance.reactivateOnResubscribe") == ["token desk: true"])
            #expect(try await audited("template.create") == [#"token desk: "manual""#])
            #expect(try await knock.fault("PUT", Knock.instance + "/dry-run", "{}") == "422 on")
            #expect(try await knock.fault("PUT", Knock.instance + "/dry-run", #"{"on": 1}"#) == "422 on")
            let unsaid = try await knock.fault("PUT", Knock.instance + "/reactivate-on-resubscribe", "{}")
            #expect(unsaid == "422 on")
            #expect(try await knock.fault("PUT", Knock.instance + "/templates/create", "{}") == "422 mode")
            #expect(
                try await knock.fault("PUT", Knock.instance + "/templates/erase", #"{"mode": "manual"}"#) == "404 -")
            #expect(try await knock.fault("POST", "/api/v1/instances/x/enable", "") == "404 -")
            #expect(try await knock.fault("POST", Knock.instance + "/enable", #"{"x": 1}"#) == "422 x")
        }
    }

    @Test func mergeFieldsAreListedMappedAndLeft() async throws {
        try await run { _, knock in
            struct Page: Decodable {
                var merge_fields: [Field]
                var next: String?
            }
            struct Field: Decodable { var tag: String, source: String? }
            let fields = Knock.instance + "/merge-fields"
            let page = try await knock.get(fields + "?limit=1").decode(Page.self)
            let next = try #require(page.next)
            #expect(page.merge_fields.count == 1)
            #expect(try await knock.get(fields + "?after=\(next)").decode(Page.self).merge_fields.first?.tag != next)

            #expect(try await knock.fault("PUT", fields + "/AANHEF", #"{"source": "salutation"}"#) == "422 -")
            for _ in 1...2 {
                let mapped = try await knock.send(
                    "PUT", fields + "/AANHEF", #"{"source": "salutation", "make": "Aanhef", "triggers": false}"#)
                #expect(mapped.status == 204, "\(mapped.text)")
            }
            let known = try await knock.get(fields).decode(Page.self).merge_fields
            #expect(known.first { $0.tag == "AANHEF" }?.source == "salutation")
            let word = try await knock.send("PUT", Knock.instance + "/genders/female", #"{"text": "", "title": "mw."}"#)
            #expect(word.status == 204)
            let words = try await knock.get(Knock.instance + "/genders").text
            #expect(words.contains(#"{"text": "", "title": "mw.", "gender": "female"}"#), "\(words)")
            #expect(try await knock.fault("PUT", Knock.instance + "/genders/robot", #"{"text": "x"}"#) == "422 -")
            #expect(try await knock.fault("PUT", Knock.instance + "/genders/male", "{}") == "422 text")
            let left = try await knock.send("DELETE", fields + "/AANHEF").status
            #expect(left == 204)
            #expect(try await knock.fault("DELETE", fields + "/AANHEF", "") == "404 -")
            let read = try await knock.send("POST", fields + "/refresh").status
            #expect(read == 204)
            #expect(try await knock.fault("PUT", fields + "/FNAME", #"{"source": "age"}"#) == "422 -")
            #expect(try await knock.fault("PUT", fields + "/FNAME", "{}") == "422 source")
            #expect(try await audited("mergeField").count >= 1)
        }
    }

    /// Puts persons who match the group's rules, so that the first plan waits.
    private func hold(_ persons: Int, _ knock: Knock) async throws -> Int64 {
        struct Page: Decodable { var plans: [Plan] }
        struct Plan: Decodable { var id: Int64, joins: Int, held_because: String }
        try await pool.query(
            """
            select koppeling.put_persons((
                select jsonb_agg(jsonb_build_object('source', 'crm', 'id', n::text, 'family_name', 'Berg, ' || n,
                    'categories', array['Mailings / News'], 'emails', jsonb_build_object('work', 'p' || n || '@post.koppeling.nl')))
                from generate_series(1, \(Int64(persons))::bigint) n))
            """)
        let saved = try await knock.send(
            "PUT", Knock.group + "/rules", #"{"version": 1, "rules": [[{"value": "Mailings / News"}]]}"#)
        try #require(saved.status == 200, "\(saved.text)")
        let held = try await knock.get("/api/v1/plans?state=held").decode(Page.self).plans
        try #require(held.first?.joins == persons)
        return held[0].id
    }

    @Test func aPlanIsReadExportedAndApprovedAsItWasSeen() async throws {
        struct Lines: Decodable {
            var version: Int
            var lines: [Line]
            var next: Int64?
        }
        struct Line: Decodable { var source: String, id: String, name: String, change: String }
        struct Shown: Decodable { var state: String, version: Int }
        struct Causes: Decodable { var version: Int, causes: [Cause] }
        struct Cause: Decodable { var cause: String, persons: Int }
        try await run { _, knock in
            let plan = "/api/v1/plans/\(try await hold(5, knock))"
            var (names, next): ([String], Int64?) = ([], 0)
            while let after = next {
                let page = try await knock.get(plan + "/lines?limit=2&after=\(after)").decode(Lines.self)
                names += page.lines.map(\.name)
                #expect(page.lines.allSatisfy { "Berg, \($0.id)" == $0.name && $0.source == "crm" })
                next = page.next
            }
            for path in [plan + "/lines", "/api/v1/plans"] {
                #expect(try await knock.get(path).text.hasSuffix(#","next":null}"#))
            }
            #expect(names == (1...5).map { "Berg, \($0)" })
            #expect(try await knock.get(plan + "/lines").decode(Lines.self).version == 1)
            #expect(try await knock.get(plan + "/causes").decode(Causes.self).version == 1)
            let causes = try await knock.get(plan + "/causes").decode(Causes.self).causes
            #expect(causes.map(\.cause) == ["rules"] && causes.map(\.persons) == [5])
            let file = try await knock.get(plan + "/export")
            #expect(file.header("Content-Type") == "text/csv; charset=utf-8")
            #expect(file.header("Content-Disposition")?.contains("-version-1.csv") == true)
            let lines = file.text.split(separator: "\n")
            #expect(lines.count == 6 && lines[0] == "source,id,name,address,change,reason,cause,rule,fields")
            #expect(lines[1].hasPrefix(#"crm,1,"Berg, 1",p1@post.koppeling.nl,join,"#))

            let seen = try await knock.get(plan).decode(Shown.self).version
            let stale = try await knock.send("POST", plan + "/approve", #"{"version": \#(seen + 1)}"#)
            #expect(stale.status == 409)
            #expect(try await knock.fault("POST", plan + "/approve", "{}") == "422 version")
            #expect(try await knock.fault("POST", plan + "/approve", #"{"version": "1"}"#) == "422 version")
            let approved = try await knock.send("POST", plan + "/approve", #"{"version": \#(seen)}"#)
            #expect(approved.text == #"{"persons":5}"#)
            let again = try await knock.send("POST", plan + "/approve", #"{"version": \#(seen)}"#)
            #expect(again.status == 409)
            #expect(try await knock.get(plan).decode(Shown.self).state == "applied")
            #expect(try await count("select count(*) from koppeling.job where kind = 'action'") == 5)
            for path in ["/api/v1/plans/99", "/api/v1/plans/x", "/api/v1/plans/99/lines", "/api/v1/plans/99/export"] {
                let missing = try await knock.get(path).status
                #expect(missing == 404, "\(path)")
            }
            #expect(try await knock.fault("GET", "/api/v1/plans?state=x", "") == "422 state")
            for path in ["/lines", "/export"] {
                let blind = try await knock.door.send("GET", plan + path, token: knock.blind).status
                #expect(blind == 403)
            }
        }
    }

    @Test func aPlanOfTheRulesIsDiscardedAndThresholdsAreSet() async throws {
        struct Thresholds: Decodable { var removals_count: Int, joins_share: Double }
        try await run { _, knock in
            let plan = "/api/v1/plans/\(try await hold(2, knock))"
            let discarded = try await knock.send("POST", plan + "/discard", #"{"version": 1}"#)
            #expect(discarded.text == #"{"left":0}"#)
            #expect(try await count("select count(*) from koppeling.rule") == 0)
            let set = try await knock.send(
                "PUT", Knock.group + "/thresholds", #"{"removals_count": 3, "joins_share": 0.5}"#)
            let thresholds = try set.decode(Thresholds.self)
            #expect(thresholds.removals_count == 3 && thresholds.joins_share == 0.5)
            let path = Knock.group + "/thresholds"
            #expect(try await knock.get(path).decode(Thresholds.self).removals_count == 3)
            #expect(try await knock.fault("PUT", path, #"{"joins_share": 2}"#) == "422 joins_share")
            #expect(try await knock.fault("PUT", path, "[]") == "422 -")
            #expect(try await knock.fault("PUT", "/api/v1/groups/x/thresholds", "{}") == "404 -")
        }
    }

    @Test func actionsThatWaitAreListedAndRun() async throws {
        struct Page: Decodable {
            var actions: [Action]
            var next: Int64?
        }
        struct Action: Decodable { var id: Int64, state: String, contact: String? }
        try await run { _, knock in
            _ = try await knock.send("PUT", Knock.instance + "/templates/create", #"{"mode": "manual"}"#)
            let plan = try await hold(5, knock)
            _ = try await knock.send("POST", "/api/v1/plans/\(plan)/approve", #"{"version": 1}"#)
            let path = "/api/v1/actions?state=parked&limit=3&instance=News%2F1"
            let page = try await knock.get(path).decode(Page.self)
            #expect(page.actions.count == 3 && page.actions.allSatisfy { $0.contact?.hasPrefix("p") == true })
            let rest = try await knock.get(path + "&before=\(try #require(page.next))").decode(Page.self)
            #expect(rest.actions.count == 2 && rest.next == nil)
            let blind = try await knock.door.send("GET", path, token: knock.blind).decode(Page.self)
            #expect(blind.actions.count == 3 && blind.actions.allSatisfy { $0.contact == nil })

            let some = #"{"actions": [\#(page.actions[0].id), \#(page.actions[1].id)]}"#
            #expect(try await knock.send("POST", "/api/v1/actions/run", some).text == #"{"left_alone":0,"run":2}"#)
            #expect(try await knock.send("POST", "/api/v1/actions/run", some).text == #"{"left_alone":2,"run":0}"#)
            let all = #"{"instance": "News/1", "action": "create"}"#
            #expect(try await knock.send("POST", "/api/v1/actions/run", all).text == #"{"run":3}"#)
            #expect(try await knock.get("/api/v1/actions?instance=Other").status == 404)
            #expect(try await knock.get("/api/v1/actions/reasons?instance=Other").status == 404)
            #expect(try await knock.send("POST", "/api/v1/actions/run", #"{"actions": [4711]}"#).status == 404)
            let none = #"{"instance": "News/1", "reason": "none such"}"#
            #expect(try await knock.send("POST", "/api/v1/actions/run", none).text == #"{"run":0}"#)
            #expect(try await audited("actions.run") == [2, 3].map { #"token desk: {"actions": \#($0)}"# })
            #expect(try await knock.get("/api/v1/actions/reasons").text == #"{"reasons" : []}"#)
            for (body, fault) in [
                ("{}", "422 actions"), (#"{"actions": []}"#, "422 actions"), (#"{"actions": [1.5]}"#, "422 actions"),
                (#"{"actions": [1], "instance": "News/1"}"#, "422 actions"),
                (#"{"actions": [1], "reason": "x"}"#, "422 actions"),
                (#"{"instance": "News/1", "action": "erase"}"#, "422 action"), (#"{"instance": "x"}"#, "404 -"),
            ] {
                #expect(try await knock.fault("POST", "/api/v1/actions/run", body) == fault, "\(body)")
            }
        }
    }

    @Test func aWithdrawnKeyIsToldWithWhatToDo() async throws {
        try await run { sandbox, knock in
            let account: String = try await pool.query("select account_id from koppeling.mailchimp_account").scalar()
            try await sandbox.control("PATCH", "accounts/\(account)", #"{"revoke_key": "\#(SandboxAtWork.key)"}"#)
            let answer = try await knock.send("POST", Knock.instance + "/merge-fields/refresh")
            #expect(answer.status == 502)
            #expect(try answer.decode(ToldProblem.self).detail.contains("koppeling account renew"), "\(answer.text)")
        }
    }

    @Test func tasksAreListedAndSettled() async throws {
        struct Page: Decodable {
            var tasks: [Task]
            var next: Int64?
        }
        struct Task: Decodable {
            var id: Int64, kind: String, state: String, person: String?, source: String?, address: String?
        }
        try await run { _, knock in
            _ = try await hold(3, knock)
            try await pool.query(
                """
                insert into koppeling.task (kind, instance_id, target_group_id, person_id, detail)
                select 'resubscribed', 1, i.target_group_id, p.id, '{}'
                from koppeling.person p, koppeling.connector_instance i
                """)
            let page = try await knock.get("/api/v1/tasks?limit=2&kind=resubscribed").decode(Page.self)
            #expect(page.tasks.map(\.person) == ["Berg, 3", "Berg, 2"])
            #expect(page.tasks.allSatisfy { $0.source == "crm" && $0.address?.isEmpty == false })
            let rest = try await knock.get("/api/v1/tasks?kind=resubscribed&before=\(try #require(page.next))")
            #expect(try rest.decode(Page.self).tasks.count == 1)
            let odd = try await knock.get("/api/v1/tasks?kind=odd")
            #expect(odd.status == 422 && odd.text.contains("must be one of resubscribed"), "\(odd.text)")
            let blind = try await knock.door.send("GET", "/api/v1/tasks?limit=2", token: knock.blind)
            #expect(
                try blind.decode(Page.self).tasks.allSatisfy {
                    $0.person == nil && $0.source == nil && $0.address == nil
                })
            let done = #"{"tasks": [\#(page.tasks[0].id), \#(page.tasks[1].id)]}"#
            #expect(try await knock.send("POST", "/api/v1/tasks/done", done).text == #"{"done":2}"#)
            #expect(try await knock.send("POST", "/api/v1/tasks/done", done).text == #"{"done":0}"#)
            #expect(try await knock.get("/api/v1/tasks?kind=resubscribed").decode(Page.self).tasks.count == 1)
            let settled = try await knock.get("/api/v1/tasks?state=done").decode(Page.self).tasks
            #expect(settled.count == 2)
            #expect(try await count("select count(*) from koppeling.task where done_by = 'token desk'") == 2)
            #expect(try await knock.fault("POST", "/api/v1/tasks/done", #"{"tasks": [4711]}"#) == "404 -")
            #expect(try await knock.fault("POST", "/api/v1/tasks/done", "{}") == "422 tasks")
        }
    }

    @Test func otherRightsDoNotReachTheLinkAndWithoutAKeyItIsOnlyShown() async throws {
        let tokens = APITokens(pool: pool)
        let others = try await tokens.create(
            name: "others", rights: [.enqueue, .read, .operate, .persons, .disclose, .groups])
        let link = try await tokens.create(name: "link", rights: [.link])
        try await insertInstance(secret: "s")
        try await withServiceCenter { door in
            for (method, path) in [
                ("GET", "plans"), ("GET", "plans/1"), ("GET", "plans/1/lines"), ("GET", "plans/1/causes"),
                ("GET", "plans/1/export"), ("POST", "plans/1/approve"), ("POST", "plans/1/discard"),
                ("GET", "groups/x/thresholds"), ("PUT", "groups/x/thresholds"), ("GET", "actions"),
                ("GET", "actions/reasons"), ("POST", "actions/run"), ("GET", "tasks"), ("POST", "tasks/done"),
                ("GET", "instances"), ("GET", "instances/x"), ("POST", "instances/x/enable"),
                ("POST", "instances/x/disable"), ("POST", "instances/x/pull"), ("PUT", "instances/x/dry-run"),
                ("PUT", "instances/x/reactivate-on-resubscribe"), ("PUT", "instances/x/keep-adopted"),
                ("PUT", "instances/x/templates/create"), ("DELETE", "instances/x/templates/create"),
                ("GET", "restored-nos"), ("GET", "instances/x/merge-fields"),
                ("POST", "instances/x/merge-fields/refresh"), ("PUT", "instances/x/merge-fields/X"),
                ("DELETE", "instances/x/merge-fields/X"), ("PUT", "instances/x/genders/male"),
            ] {
                let answer = try await door.send(
                    method, "/api/v1/" + path, token: others, body: method == "GET" ? nil : "{}")
                #expect(answer.status == 403, "\(method) \(path)")
                let nobody = try await door.send(method, "/api/v1/" + path).status
                #expect(nobody == 401, "\(method) \(path)")
            }
            let shown = try await door.send("GET", "/api/v1/instances/News", token: link).status
            #expect(shown == 200)
            let off = try await door.send("POST", "/api/v1/instances/News/disable", token: link)
            #expect(off.status == 503)
            #expect(try off.decode(ToldProblem.self).detail.contains("KOPPELING_SECRET_KEY"))
        }
    }
}
