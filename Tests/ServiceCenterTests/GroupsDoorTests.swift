import FoundationEssentials
import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Target groups over HTTP", .database)
struct GroupsDoorTests {
    private let pool = TestDatabase.current.pool

    private func token(_ rights: Set<TokenRight>, name: String = "crm") async throws -> String {
        try await APITokens(pool: pool).create(name: name, rights: rights)
    }

    /// Puts so many persons of the newsletter.
    private func put(_ count: Int) async throws {
        try await pool.query(
            """
            select koppeling.put_persons((
                select jsonb_agg(jsonb_build_object('source', 'crm', 'id', n::text, 'family_name', 'Berg ' || n,
                    'categories', array['Mailings / News']))
                from generate_series(1, \(Int64(count))::bigint) n))
            """)
    }

    private struct Saved: Decodable { var version: Int, changed: Int }
    private struct Group: Decodable {
        var name: String, active: Int, inactive: Int, rules_version: Int
        var rules: [[Criterion]]?
        var check: Check?
    }
    private struct Check: Decodable { var defects: Int, all_defects: Int }
    private struct Criterion: Decodable, Equatable { var kind: String, value: String, negated: Bool }
    private struct Member: Decodable { var id: String, last_name: String, status: String, reasons: [String] }
    private struct Members: Decodable {
        var members: [Member]
        var next: String?
    }

    @Test func aGroupIsMadeGivenRulesAndShown() async throws {
        let token = try await token([.groups, .disclose])
        try await put(5)
        try await withServiceCenter { door in
            let made = try await door.send("POST", "/api/v1/groups", token: token, body: #"{"name": "A/B news"}"#)
            #expect(made.status == 201)
            let twice = try await door.send("POST", "/api/v1/groups", token: token, body: #"{"name": "a/b News"}"#)
            #expect(twice.status == 409)
            let nameless = try await door.send("POST", "/api/v1/groups", token: token, body: "{}")
            #expect(nameless.status == 422)
            #expect(try nameless.decode(ToldProblem.self).field == "name")
            let path = "/api/v1/groups/A%2FB%20news"
            let read = try await door.send("GET", path + "/rules", token: token)
            #expect(read.text == #"{"rules":[],"version":1}"#)
            let rules = #"{"version": 1, "rules": [[{"value": "Mailings / News"}]]}"#
            let saved = try await door.send("PUT", path + "/rules", token: token, body: rules)
            #expect(try saved.decode(Saved.self).changed == 5, "\(saved.text)")
            let stale = try await door.send("PUT", path + "/rules", token: token, body: rules)
            #expect(stale.status == 409)
            let group = try await door.send("GET", path, token: token).decode(Group.self)
            #expect(group.active == 5 && group.rules_version == 2 && group.check == nil)
            #expect(group.rules == [[Criterion(kind: "personCategory", value: "Mailings / News", negated: false)]])
            for _ in 1...2 {
                let check = try await door.send("POST", path + "/check", token: token)
                #expect(try check.decode(Check.self).all_defects == 0)
            }
            #expect(try await door.send("GET", path, token: token).decode(Group.self).check?.defects == 0)
            let gone = try await door.send("GET", "/api/v1/groups/Nothing", token: token).status
            #expect(gone == 404)
        }
        let actor: String = try await pool.query(
            "select actor from koppeling.audit_entry where kind = 'rules'"
        ).scalar()
        #expect(actor == "token crm")
    }

    @Test func whatARuleExcludesAloneIsConfirmedKnowingHowMany() async throws {
        let token = try await token([.groups])
        try await put(7)
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/groups", token: token, body: #"{"name": "News"}"#)
            let rules = #""version": 1, "rules": [[{"kind": "function", "value": "Chef", "negated": true}]]"#
            let unknown = try await door.send("PUT", "/api/v1/groups/News/rules", token: token, body: "{\(rules)}")
            #expect(unknown.status == 422)
            #expect(try unknown.decode(ToldProblem.self).field == "rules")
            try await pool.query(
                #"select koppeling.put_person('{"source": "crm", "id": "8", "positions": [{"function": "Chef"}]}')"#)
            let asked = try await door.send("PUT", "/api/v1/groups/News/rules", token: token, body: "{\(rules)}")
            #expect(asked.status == 422)
            let problem = try asked.decode(ToldProblem.self)
            #expect(problem.field == "confirm" && problem.detail.contains("7 persons"))
            let saved = try await door.send(
                "PUT", "/api/v1/groups/News/rules", token: token, body: #"{\#(rules), "confirm": true}"#)
            #expect(try saved.decode(Saved.self).changed == 7)
        }
    }

    @Test(arguments: [
        (#"{"rules": []}"#, "version"), (#"{"version": 1}"#, "rules"),
        (#"{"version": 1, "rules": [], "groep": 1}"#, "groep"),
        (#"{"version": 1, "rules": [[{"value": "x", "negate": true}]]}"#, "rules[0][0].negate"),
        (#"{"version": 1, "rules": [[{"value": "x", "kind": "colour"}]]}"#, "rules[0][0].kind"),
        (#"{"version": 1, "rules": [[], [{"kind": "function"}]]}"#, "rules[1][0].value"),
        (#"{"version": 1, "rules": [[{"value": null}]]}"#, "rules[0][0].value"),
        (#"{"version": 1, "rules": {}}"#, "rules"), (#"{"version": "0", "rules": []}"#, "version"), ("[]", "body"),
        ("", "body"),
    ])
    func aFaultInRulesIsNamedAndNothingIsSaved(body: String, field: String) async throws {
        let token = try await token([.groups])
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/groups", token: token, body: #"{"name": "News"}"#)
            let answer = try await door.send("PUT", "/api/v1/groups/News/rules", token: token, body: body)
            #expect(answer.status == (field == "body" ? 400 : 422), "\(answer.text)")
            let told = try answer.decode(ToldProblem.self)
            #expect(told.field == field)
            if field.hasSuffix("kind") {
                #expect(told.detail.contains("company, companyCategory, department, function, personCategory"))
            }
        }
        let version: Int64 = try await pool.query("select sum(rules_version) from koppeling.target_group").scalar()
        #expect(version == 1)
    }

    @Test func aPreviewNamesNobodyToWhoMayNotKnow() async throws {
        struct Preview: Decodable {
            var joins: Int
            var sample: [Named]
        }
        struct Named: Decodable { var name: String }
        let (blind, sees) = (
            try await token([.groups], name: "blind"), try await token([.groups, .disclose], name: "sees")
        )
        try await put(3)
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/groups", token: blind, body: #"{"name": "News"}"#)
            let rules = #"{"rules": [[{"value": "Mailings / News"}]], "exact": true}"#
            let path = "/api/v1/groups/News/rules/preview"
            let numbers = try await door.send("POST", path, token: blind, body: rules).decode(Preview.self)
            #expect(numbers.joins == 3 && numbers.sample.isEmpty)
            let names = try await door.send("POST", path, token: sees, body: rules).decode(Preview.self)
            #expect(names.sample.map(\.name) == ["Berg 1", "Berg 2", "Berg 3"])
            let wrong = try await door.send("POST", path, token: sees, body: #"{"rules": [], "version": 1}"#)
            #expect(try wrong.decode(ToldProblem.self).field == "version")
        }
        #expect(try await pool.query("select count(*) from koppeling.membership").scalar(as: Int64.self) == 0)
    }

    @Test func membersArePagedAndDecidedUponByHand() async throws {
        let token = try await token([.groups, .disclose])
        try await put(5)
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/groups", token: token, body: #"{"name": "News"}"#)
            _ = try await door.send(
                "PUT", "/api/v1/groups/News/rules", token: token,
                body: #"{"version": 1, "rules": [[{"value": "Mailings / News"}]]}"#)
            for _ in 1...2 {
                let out = try await door.send(
                    "PUT", "/api/v1/groups/News/members/crm/3", token: token, body: #"{"override": "exclude"}"#)
                #expect(out.status == 204)
            }
            var (seen, next): ([Member], String?) = ([], nil)
            for _ in 1...3 {
                let after = next.map { "&after=" + $0.replacing(" ", with: "%20") } ?? ""
                let page = try await door.send("GET", "/api/v1/groups/News/members?limit=2" + after, token: token)
                    .decode(Members.self)
                seen += page.members
                next = page.next
            }
            #expect(seen.map(\.id) == ["1", "2", "3", "4", "5"] && next == nil)
            #expect(seen[2].status == "inactive" && seen[2].reasons == ["manual"])
            let inactive = try await door.send("GET", "/api/v1/groups/News/members?status=inactive", token: token)
            #expect(inactive.text.hasSuffix(#","next":null}"#))
            #expect(try inactive.decode(Members.self).members.map(\.last_name) == ["Berg 3"])
            for (query, field) in [("status=x", "status"), ("after=x", "after"), ("limit=0", "limit")] {
                let wrong = try await door.send("GET", "/api/v1/groups/News/members?" + query, token: token)
                #expect(wrong.status == 422)
                #expect(try wrong.decode(ToldProblem.self).field == field)
            }
            let wrong = try await door.send(
                "PUT", "/api/v1/groups/News/members/crm/3", token: token, body: #"{"override": "maybe"}"#)
            #expect(try wrong.decode(ToldProblem.self).field == "override")
            let nobody = try await door.send(
                "PUT", "/api/v1/groups/News/members/crm/99", token: token, body: #"{"override": "include"}"#)
            #expect(nobody.status == 404)
        }
        let entries: Int64 = try await pool.query(
            "select count(*) from koppeling.audit_entry where kind = 'override' and actor = 'token crm'"
        ).scalar()
        #expect(entries == 1)
    }

    @Test func whoSignedUpAgainIsLetBackInAndNobodyElse() async throws {
        let token = try await token([.groups])
        try await insertInstance(secret: "s")
        try await put(2)
        let group: String = try await pool.query(
            "update koppeling.target_group set name = 'A/B news', email_kind = 'work' returning name"
        ).scalar()
        #expect(group == "A/B news")
        func readmit(_ id: String, _ door: Door, body: String = "{}") async throws -> HTTPResponse {
            try await door.send(
                "POST", "/api/v1/groups/A%2FB%20news/members/crm/\(id)/readmit", token: token, body: body)
        }
        try await pool.query(
            #"""
            select koppeling.put_person(jsonb_build_object('source', 'crm', 'id', '1',
                'emails', '{"work": "ann@post.koppeling.nl"}'::jsonb))
            """#)
        try await pool.query(
            """
            select koppeling.open_suppression(g.id, 'unsubscribed', 'ann@post.koppeling.nl', null, '{}', 'mailchimp',
                koppeling.now() - interval '1 day', '{}')
            from koppeling.target_group g
            """)
        try await withServiceCenter { door in
            let early = try await readmit("1", door)
            #expect(early.status == 409)
            #expect(try early.decode(ToldProblem.self).detail.contains("koppeling person invite"))
            try await pool.query(
                """
                select koppeling.observe_member(i.id, jsonb_build_object('id', 'h', 'contact_id', 'c',
                    'email_address', 'ann@post.koppeling.nl', 'status', 'subscribed',
                    'last_changed', koppeling.now(), 'timestamp_opt', koppeling.now()), true)
                from koppeling.connector_instance i
                """)
            let extra = try await readmit("1", door, body: #"{"x": 1}"#)
            #expect(extra.status == 422)
            let done = try await readmit("1", door)
            #expect(done.status == 204, "\(done.text)")
            let again = try await readmit("1", door)
            #expect(again.status == 409)
            let nobody = try await readmit("9", door)
            #expect(nobody.status == 404)
        }
        let audited: String = try await pool.query(
            "select actor || ': ' || cause from koppeling.audit_entry where kind = 'readmitted'"
        ).scalar()
        #expect(audited == "token crm: by hand")
    }

    @Test func aValueIsRenamedAndCompaniesAreMerged() async throws {
        let token = try await token([.groups, .persons])
        try await pool.query(
            """
            select koppeling.put_persons('[
                {"source": "crm", "id": "1", "positions": [{"function": "Chef", "company": "C1"}]},
                {"source": "crm", "id": "2", "positions": [{"function": "Baas", "company": "C2"}]}]')
            """)
        try await withServiceCenter { door in
            for (body, status, field) in [
                (#"{"kind": "function", "old": "Chef", "new": "Hoofd"}"#, 204, nil),
                (#"{"kind": "function", "old": "Chef", "new": "Hoofd"}"#, 404, nil),
                (#"{"kind": "function", "old": "Hoofd", "new": "Baas"}"#, 409, nil),
                (#"{"kind": "company", "old": "C1", "new": "C3"}"#, 422, "kind"),
                (#"{"kind": "function", "old": "Hoofd"}"#, 422, "new"),
            ] as [(String, Int, String?)] {
                let answer = try await door.send("POST", "/api/v1/values/rename", token: token, body: body)
                #expect(answer.status == status, "\(body) \(answer.text)")
                if let field { #expect(try answer.decode(ToldProblem.self).field == field) }
            }
            let listed = try await door.send("GET", "/api/v1/values/function?prefix=h", token: token)
            #expect(listed.text == #"{"values":[{"name":"Hoofd"}],"next":null}"#, "\(listed.text)")
            let first = try await door.send("GET", "/api/v1/values/function?limit=1", token: token)
            #expect(first.text == #"{"values":[{"name":"Baas"}],"next":"Baas"}"#, "\(first.text)")
            let odd = try await door.send("GET", "/api/v1/values/colour", token: token)
            #expect(odd.status == 404 && odd.text.contains("companyCategory"), "\(odd.text)")
            for (body, status) in [
                (#"{"source": "crm", "id": "c1"}"#, 422), (#"{"source": "crm", "id": "C2"}"#, 204),
                (#"{"source": "crm", "id": "C2"}"#, 204),
                (#"{"source": "crm", "id": "C9"}"#, 404), (#"{"source": "crm"}"#, 422),
            ] {
                let path = "/api/v1/companies/crm/C1/merge"
                let answer = try await door.send("POST", path, token: token, body: body)
                #expect(answer.status == status, "\(body) \(answer.text)")
            }
        }
        let merged: Int64 = try await pool.query(
            "select count(*) from koppeling.company where merged_into is not null"
        ).scalar()
        #expect(merged == 1)
    }

    @Test func groupsArePagedByName() async throws {
        struct Page: Decodable {
            var groups: [Group]
            var next: String?
        }
        let token = try await token([.groups])
        try await withServiceCenter { door in
            for name in ["b", "A", "C"] {
                _ = try await door.send("POST", "/api/v1/groups", token: token, body: #"{"name": "\#(name)"}"#)
            }
            let first = try await door.send("GET", "/api/v1/groups?limit=2", token: token).decode(Page.self)
            #expect(first.groups.map(\.name) == ["A", "b"] && first.next == "b")
            let end = try await door.send("GET", "/api/v1/groups?limit=2&after=b", token: token)
            #expect(end.text.hasSuffix(#","next":null}"#), "\(end.text)")
            let last = try end.decode(Page.self)
            #expect(last.groups.map(\.name) == ["C"] && last.next == nil)
        }
    }

    @Test func otherRightsDoNotReachGroups() async throws {
        let others = try await token([.enqueue, .read, .operate, .persons, .disclose, .link], name: "others")
        let groups = try await token([.groups], name: "groups")
        try await withServiceCenter { door in
            for (method, path) in [
                ("GET", "/api/v1/groups"), ("POST", "/api/v1/groups"), ("GET", "/api/v1/groups/x"),
                ("GET", "/api/v1/groups/x/members"), ("PUT", "/api/v1/groups/x/members/crm/1"),
                ("POST", "/api/v1/groups/x/members/crm/1/readmit"),
                ("POST", "/api/v1/groups/x/check"), ("GET", "/api/v1/groups/x/rules"),
                ("PUT", "/api/v1/groups/x/rules"), ("POST", "/api/v1/groups/x/rules/preview"),
                ("POST", "/api/v1/values/rename"), ("GET", "/api/v1/values/function"),
            ] {
                let answer = try await door.send(method, path, token: others, body: method == "GET" ? nil : "{}")
                #expect(answer.status == 403, "\(method) \(path)")
                let nobody = try await door.send(method, path).status
                #expect(nobody == 401, "\(method) \(path)")
            }
            let blind = try await door.send("GET", "/api/v1/groups/x/members", token: groups)
            #expect(blind.status == 403)
            #expect(try blind.decode(ToldProblem.self).detail.contains("--may groups --may disclose"))
        }
    }
}
