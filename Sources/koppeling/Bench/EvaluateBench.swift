import Foundation
import Postgres
import TargetGroups

/// What rules cost, each beside the plain SELECT that somebody would have written by hand for the same question.
struct EvaluateBench: Sendable {
    /// Of connections without a limit of time: making the persons takes minutes.
    let pool: Pool
    let persons: Int
    let show: Figures

    private static let rules = """
        [[{"value": "Soort / 5"}, {"value": "Soort / 9", "negated": true}],
         [{"kind": "function", "value": "3"}, {"kind": "companyCategory", "value": "4"}],
         [{"value": "Soort / 20"}, {"kind": "department", "value": "7"}]]
        """
    private static let plainRules = """
        select count(*) from (
            select c.person_id from koppeling.person_category c
            where c.category_id = 5 and not exists (
                select from koppeling.person_category n where n.person_id = c.person_id and n.category_id = 9)
            union
            select p.person_id from koppeling.position p
            join koppeling.company_in_category k on k.company_id = p.company_id
            where p.job_function_id = 3 and k.company_category_id = 4
            union
            select c.person_id from koppeling.person_category c
            join koppeling.position p on p.person_id = c.person_id
            where c.category_id = 20 and p.department_id = 7
        ) matching
        """
    /// What 93 % match.
    private static let negated = #"[[{"value": "Soort / 8", "negated": true}]]"#
    private static let plainNegated = """
        select count(*) from koppeling.person p where not exists (
            select from koppeling.person_category c where c.person_id = p.id and c.category_id = 8)
        """

    func run() async throws {
        try await fill()
        let three = try await group("Drie regels", Self.rules)
        let one = try await compare("full diff of three rules", three, Self.plainRules, atMost: 3)
        try await preview(three)
        try await edits(three)
        try await companyCategory()
        let negated = try await group("Alleen niet", Self.negated)
        _ = try await compare("full diff of a rule that only excludes", negated, Self.plainNegated, atMost: 3)
        try await nightly(one)
    }

    // MARK: - The parts

    private func fill() async throws {
        let filled = try await seconds {
            try await pool.script(
                """
                select setseed(0.5);
                insert into koppeling.category_group (name) values ('Soort');
                insert into koppeling.category (category_group_id, name)
                    select 1, n::text from generate_series(1, 200) n;
                insert into koppeling.job_function (name) select n::text from generate_series(1, 60) n;
                insert into koppeling.department (name) select n::text from generate_series(1, 40) n;
                insert into koppeling.company_category (name) select n::text from generate_series(1, 30) n;
                insert into koppeling.company (source, external_id, name)
                    select 'bench', n::text, 'Bedrijf ' || n from generate_series(1, 20000) n;
                insert into koppeling.company_in_category
                    select n, 1 + floor(29 * power(random(), 2))::int from generate_series(1, 20000) n;
                insert into koppeling.person (source, external_id, given_name, family_name)
                    select 'bench', n::text, 'Anna', 'Berg ' || n from generate_series(1, \(persons)) n;
                insert into koppeling.person_category
                    select n, 1 + floor(200 * power(random(), 2.5))::int
                    from generate_series(1, \(persons)) n, generate_series(1, 5) on conflict do nothing;
                insert into koppeling.position (person_id, job_function_id, department_id, company_id)
                    select n, 1 + floor(60 * power(random(), 2))::int, 1 + floor(40 * power(random(), 2))::int,
                        1 + floor(20000 * random())::int
                    from generate_series(1, \(persons)) n;
                insert into koppeling.email_address (person_id, kind, address)
                    select n, 'zakelijk', 'anna.berg.' || n || '@voorbeeld.nl' from generate_series(1, \(persons)) n;
                """)
            try await pool.script("vacuum analyze")
        }
        show("\(persons) persons made", filled, "s")
    }

    private func group(_ name: String, _ rules: String) async throws -> Int64 {
        let group: Int64 = try await pool.query(
            "insert into koppeling.target_group (name) values (\(name)::text) returning id"
        ).scalar()
        let saved = try await seconds {
            try await pool.query(
                "select koppeling.save_rules(\(group)::bigint, 1, \(JSONText(rules))::jsonb, true, 'bench')")
        }
        show("\(name): saved, and all memberships written", saved, "s")
        try await pool.script("vacuum analyze koppeling.membership")
        return group
    }

    /// The diff as it is made each night, and as it is made after rules were saved, when everybody is derived again.
    private func compare(_ name: String, _ group: Int64, _ plain: String, atMost aim: Double) async throws -> Double {
        let other = try await median { try await pool.query("\(unsafe: plain)") }
        let checked = try await median { try await pool.query("select koppeling.check_group(\(group)::bigint)") }
        show(name, checked * 1000, "ms", of: "the plain SELECT", other * 1000, atMost: aim)
        let derived = try await median {
            try await pool.query("select koppeling.refresh_memberships(\(group)::bigint, null, 'bench', 'bench')")
        }
        show("\(name), everybody derived again", derived * 1000, "ms")
        return checked
    }

    private func preview(_ group: Int64) async throws {
        let exact = try await median {
            try await pool.query("select koppeling.preview_rules(\(group)::bigint, \(JSONText(Self.rules))::jsonb)")
        }
        let plain = try await median { try await pool.query("\(unsafe: Self.plainRules)") }
        show("preview, exact", exact * 1000, "ms", of: "the plain SELECT", plain * 1000, atMost: 2)
        let estimate = try await median {
            try await pool.query("select koppeling.estimate_rules(\(group)::bigint, \(JSONText(Self.rules))::jsonb)")
        }
        show("preview, estimated", estimate * 1000, "ms", atMost: 1000)
    }

    /// One person's facts change and are evaluated, again and again: who comes into a linked group, or leaves it, has an
    /// action staged by then.
    private func edits(_ group: Int64) async throws {
        try await link(group)
        try await timeEdits("one person's edit until the action is staged, p99")
        let staged: Int64 = try await pool.query(
            """
            select (select count(*) from koppeling.job where kind = 'action')
                + (select count(*) from koppeling.job_history where kind = 'action')
            """
        ).scalar()
        show("actions that 200 edits staged, those superseded since too", Double(staged), "")
    }

    /// Takes the time of 200 edits, one after the other.
    private func timeEdits(_ name: String) async throws {
        var times: [Double] = []
        for number in 0..<200 {
            times.append(try await seconds { try await edit(Int64(number / 2 * 37 + 1), number) })
        }
        times.sort()
        show(name, times[197] * 1000, "ms", atMost: 50)
    }

    /// Links a group; the contacts of its members were made long ago.
    private func link(_ group: Int64) async throws {
        try await pool.script(
            """
            update koppeling.target_group set email_kind = 'zakelijk', linked = true where id = \(group);
            with account as (
                insert into koppeling.mailchimp_account (name, credential, data_centre, account_id, login_id)
                    values ('Bench \(group)', '', 'us7', 'bench', 'bench \(group)')
                    returning id
            ), instance as (
                insert into koppeling.connector_instance (
                    account_id, name, list_id, list_name, target_group_id, enabled, activated, webhook_secret_hash,
                    webhook_secret, joins_cap, joins_count)
                    select id, 'Bench \(group)', 'bench\(group)', 'Bench', \(group), true, true, sha256('bench'), 'bench',
                        1000000000, 1000000000
                    from account
                    returning id
            ), fields as (
                insert into koppeling.merge_field (instance_id, tag, source)
                    select id, t.tag, t.source
                    from instance, (values ('FNAME', 'first_name'), ('LNAME', 'last_name')) t (tag, source)
            )
            insert into koppeling.action_template (instance_id, action)
                select id, t.action from instance, (values ('create'), ('update'), ('delete')) t (action);
            select koppeling.membership_changed(\(group), null);
            delete from koppeling.job where kind = 'action';
            update koppeling.audience_member m
                set status = 'subscribed', ownership = 'created', contact_id = m.id::text,
                    applied_fields = (select c.fields from koppeling.claim c where c.member_id = m.id);
            update koppeling.connector_instance set joins_cap = default, joins_count = default;
            delete from koppeling.unapproved_change;
            """)
        try await pool.script("vacuum analyze")
    }

    private func edit(_ person: Int64, _ number: Int) async throws {
        try await pool.query(
            """
            select koppeling.put_person(jsonb_build_object('source', 'bench', 'id', \(person)::bigint::text,
                'categories', jsonb_build_array('Soort / ' || \(Int64(number % 2 + 5))::bigint)))
            """)
        try await pool.query("select koppeling.evaluate_requests(100)")
    }

    /// The category of companies with 8,000 positions changes: who works there comes into a linked group, by a plan.
    private func companyCategory() async throws {
        let companies = Int64(20_000 * 8000 / persons)
        let group = try await group("Bedrijven", #"[[{"kind": "companyCategory", "value": "30"}]]"#)
        try await link(group)
        let changed = try await seconds {
            try await pool.query(
                """
                select koppeling.put_companies(jsonb_agg(jsonb_build_object(
                    'source', c.source, 'id', c.external_id, 'categories', array['30'] || (
                        select array_agg(k.name) from koppeling.company_in_category i
                        join koppeling.company_category k on k.id = i.company_category_id
                        where i.company_id = c.id))))
                from koppeling.company c where c.id <= \(companies)::bigint
                """)
            while try await pool.query("select koppeling.evaluate_requests(2000)").scalar(as: Int64.self) > 0 {}
        }
        let lines: Int64 = try await pool.query("select coalesce(sum(joins), 0)::bigint from koppeling.plans").scalar()
        show("lines of the plan that it makes", Double(lines), "")
        let plain = try await median {
            try await pool.query(
                """
                select count(distinct p.person_id) from koppeling.position p
                join koppeling.company_in_category k on k.company_id = p.company_id where k.company_category_id = 30
                """)
        }
        show("category of companies with 8,000 persons, until the plan is made", changed * 1000, "ms", atMost: 2000)
        show("the plain SELECT of those persons", plain * 1000, "ms")
    }

    /// Two hundred groups of several kinds, looked at as every night, while somebody edits persons.
    private func nightly(_ one: Double) async throws {
        let made = try await seconds {
            for number in 1...198 {
                let group: Int64 = try await pool.query(
                    "insert into koppeling.target_group (name) values (\("Groep \(number)")::text) returning id"
                ).scalar()
                try await pool.query(
                    "select koppeling.save_rules(\(group)::bigint, 1, \(Self.rule(number))::jsonb, true, 'bench')")
            }
            try await pool.script("vacuum analyze koppeling.membership")
        }
        show("198 groups more made", made, "s")
        let members: Int64 = try await pool.query("select count(*) from koppeling.membership").scalar()
        show("memberships in 200 groups", Double(members), "")
        try await timeEdits("the same edit with 200 groups, p99")
        let (night, waits) = try await withThrowingTaskGroup(of: [Double].self) { group in
            group.addTask { try await editing() }
            let night = try await median { _ = try await GroupChecks(pool: pool).run() }
            group.cancelAll()
            return (night, try await group.next() ?? [])
        }
        show("200 groups checked", night * 1000, "ms", of: "200 times the three rules", 200 * one * 1000, atMost: 0.5)
        show("an edit meanwhile, put and evaluated, the slowest of \(waits.count)", waits.max() ?? 0, "s", atMost: 1)
    }

    /// A category, half of the time without another one; a function in a category of companies; three such rules.
    private static func rule(_ number: Int) -> JSONText {
        let category = #"{"value": "Soort / \#(number % 180 + 20)"}"#
        let not = #"{"value": "Soort / \#(number % 50 + 1)", "negated": true}"#
        let position = """
            {"kind": "function", "value": "\(number % 60 + 1)"},
            {"kind": "companyCategory", "value": "\(number % 29 + 1)"}
            """
        let rules =
            switch number % 4 {
            case 0: "[\(category)]"
            case 1: "[\(category), \(not)]"
            case 2: "[\(position)]"
            default: "[\(category), \(not)], [\(position)], [\(not), {\"kind\": \"department\", \"value\": \"7\"}]"
            }
        return JSONText("[\(rules)]")
    }

    /// Edits one person after the other until it is cancelled; how long each took.
    private func editing() async throws -> [Double] {
        var times: [Double] = []
        while !Task.isCancelled {
            let number = times.count
            guard let time = try? await seconds({ try await edit(Int64(number * 41 % persons + 1), number) }) else {
                break
            }
            times.append(time)
        }
        return times
    }
}
