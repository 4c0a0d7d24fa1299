import Foundation
import Postgres

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
    private static let negated = #"[[{"value": "Soort / 1", "negated": true}]]"#
    private static let plainNegated = """
        select count(*) from koppeling.person p where not exists (
            select from koppeling.person_category c where c.person_id = p.id and c.category_id = 1)
        """

    func run() async throws {
        try await fill()
        let three = try await group("Drie regels", Self.rules)
        try await compare("full diff of three rules", three, Self.plainRules, atMost: 3)
        try await preview(three)
        try await edits()
        try await companyCategory()
        let negated = try await group("Alleen niet", Self.negated)
        try await compare("full diff of a rule that only excludes", negated, Self.plainNegated, atMost: 3)
        try await many()
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

    private func compare(_ name: String, _ group: Int64, _ plain: String, atMost aim: Double) async throws {
        let ours = try await median {
            try await pool.query("select koppeling.refresh_memberships(\(group)::bigint, null, 'bench', 'bench')")
        }
        let other = try await median { try await pool.query("\(unsafe: plain)") }
        show(name, ours * 1000, "ms", of: "the plain SELECT", other * 1000, atMost: aim)
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

    /// One person's facts change and are evaluated, again and again.
    private func edits() async throws {
        var times: [Double] = []
        for number in 1...200 {
            let person = Int64(number * 37)
            times.append(
                try await seconds {
                    try await pool.query(
                        """
                        select koppeling.put_person(jsonb_build_object('source', 'bench', 'id', \(person)::bigint::text,
                            'categories', jsonb_build_array('Soort / ' || \(Int64(number % 20 + 1))::bigint)))
                        """)
                    try await pool.query("select koppeling.evaluate_requests(100)")
                })
        }
        times.sort()
        show("one person's edit, put and evaluated, p99", times[197] * 1000, "ms", atMost: 50)
    }

    /// The category of companies with 8,000 positions changes: everybody there is evaluated in one pass.
    private func companyCategory() async throws {
        let companies = Int64(20_000 * 8000 / persons)
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
        let plain = try await median {
            try await pool.query(
                """
                select count(distinct p.person_id) from koppeling.position p
                join koppeling.company_in_category k on k.company_id = p.company_id where k.company_category_id = 30
                """)
        }
        show("category of companies with 8,000 persons changed", changed * 1000, "ms", atMost: 2000)
        show("the plain SELECT of those persons", plain * 1000, "ms")
    }

    /// Two hundred groups with a rule each, looked at one after the other as every night.
    private func many() async throws {
        var groups: [Int64] = []
        for number in 1...200 {
            let group: Int64 = try await pool.query(
                "insert into koppeling.target_group (name) values (\("Groep \(number)")::text) returning id"
            ).scalar()
            groups.append(group)
            try await pool.query(
                """
                select koppeling.save_rules(\(group)::bigint, 1, jsonb_build_array(jsonb_build_array(
                    jsonb_build_object('kind', 'company', 'value', 'bench/' || \(Int64(number))::bigint))),
                    true, 'bench')
                """)
        }
        var times: [Double] = []
        for group in groups {
            times.append(try await seconds { try await pool.query("select koppeling.check_group(\(group)::bigint)") })
        }
        let one = times.sorted()[groups.count / 2]
        let plain = try await seconds {
            for number in 1...200 {
                try await pool.query(
                    """
                    select count(distinct person_id) from koppeling.position where company_id = \(Int64(number))::bigint
                    """)
            }
        }
        show(
            "200 groups of a company each checked", times.reduce(0, +) * 1000, "ms", of: "200 times the median one",
            200 * one * 1000, atMost: 0.5)
        show("200 plain SELECTs", plain * 1000, "ms")
    }
}
