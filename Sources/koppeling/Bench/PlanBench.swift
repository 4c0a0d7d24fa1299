import Connector
import Postgres

/// What a large change plan costs: making it, looking at it, approving it, applying it.
struct PlanBench: Sendable {
    /// Of connections without a limit of time.
    let pool: Pool
    let lines: Int
    let show: Figures

    func run() async throws {
        try await fill()
        let made = try await seconds { try await pool.query("select koppeling.membership_changed(1, null)") }
        show("plan of \(lines) lines made", made, "s")
        let plans = Plans(pool: pool)
        guard let plan = try await plans.list().first, plan.joins == lines else {
            throw Failure("there is no plan of \(lines) lines")
        }
        let page = try await median {
            _ = try await plans.lines(plan: plan.id, after: Int64(lines / 2), limit: 100)
        }
        show("a page of the plan", page * 1000, "ms", atMost: 200)
        let approved = try await seconds {
            _ = try await plans.approve(plan: plan.id, version: plan.version, actor: "bench")
        }
        show("the plan approved", approved * 1000, "ms", atMost: 200)
        let applied = try await seconds { try await ApplyPlanHandler(pool: pool).apply(plan.id) }
        show("the plan applied", applied, "s")
        show("lines of the plan made and applied", Double(lines) / (made + approved + applied), "1/s", atLeast: 20_000)
    }

    /// Persons who are all in the group of a new instance, whose plan has not been made yet.
    private func fill() async throws {
        try await pool.script(
            """
            insert into koppeling.category_group (name) values ('Soort');
            insert into koppeling.category (category_group_id, name) values (1, '1');
            insert into koppeling.person (source, external_id, given_name, prefixes, family_name)
                select 'bench', n::text, 'Anna', case when n % 3 = 0 then 'van der' end, 'Berg ' || n
                from generate_series(1, \(lines)) n;
            insert into koppeling.email_address (person_id, kind, address)
                select n, 'zakelijk', 'anna.berg.' || n || '@voorbeeld.nl' from generate_series(1, \(lines)) n;
            insert into koppeling.person_category select n, 1 from generate_series(1, \(lines)) n;
            insert into koppeling.target_group (name, email_kind, linked) values ('Bench', 'zakelijk', true);
            select koppeling.save_rules(1, 1, '[[{"value": "Soort / 1"}]]', true, 'bench');
            insert into koppeling.mailchimp_account (name, credential, data_centre, account_id, login_id)
                values ('Bench', '', 'us7', 'bench', 'bench');
            insert into koppeling.connector_instance (
                account_id, name, list_id, list_name, target_group_id, enabled, webhook_secret_hash, webhook_secret)
                values (1, 'Bench', 'bench', 'Bench', 1, true, sha256('bench'), 'bench');
            insert into koppeling.merge_field (instance_id, tag, source)
                values (1, 'FNAME', 'first_name'), (1, 'LNAME', 'last_name');
            insert into koppeling.action_template (instance_id, action)
                values (1, 'create'), (1, 'update'), (1, 'delete');
            """)
        try await pool.script("vacuum analyze")
    }
}
