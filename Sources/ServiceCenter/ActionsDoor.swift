import Hummingbird
import Postgres

/// `/api/v1/actions`: what is to be carried out in Mailchimp and what was; with `/run` those that wait for a person, and
/// those that were rejected, are run.
struct ActionsDoor: Sendable {
    static let most: Int64 = 1_000

    let pool: Pool
    let gate: Gate

    private enum State: String, CaseIterable { case staged, parked, running, done, rejected, superseded }

    private enum Template: String, CaseIterable { case create, update, delete }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/actions") { request, _ in
            let rights = try await gate.rights(of: request, with: .link)
            return try await list(
                try Fields(queryOf: request, known: ["state", "instance", "before", "limit"]),
                isDisclosed: rights.contains(.disclose))
        }
        router.get("/api/v1/actions/reasons") { request, _ in
            try await gate.admit(request, to: .link)
            return try await reasons(try Fields(queryOf: request, known: ["instance", "limit"]))
        }
        router.post("/api/v1/actions/run") { request, _ in
            let actor = try await gate.actor(of: request, with: .link)
            let fields = try await Fields(bodyOf: request, known: ["actions", "instance", "action", "reason"])
            return try await run(fields, actor: actor)
        }
    }

    private func list(_ fields: Fields, isDisclosed: Bool) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let state = try fields.choice("state", of: State.self)?.rawValue
        let instance = try await instance(fields)
        let before = try fields.integer("before", in: 1...Int64.max / 2)
        let rows = try await pool.query(
            """
            select (koppeling.in_utc(row_to_json(t))::jsonb
                       - case when \(isDisclosed)::boolean then '{}' else '{contact}' end::text[])::text as line,
                   t.id::text as key
            from (
                select id, instance, action, state, member_id, contact, contact_status, reason, attempt, enqueued_at,
                    finished_at, worker
                from koppeling.actions
                where (\(state)::text is null or state = \(state)::text)
                    and (\(instance)::text is null or instance = \(instance)::text)
                    and (\(before)::bigint is null or id < \(before)::bigint)
                order by id desc
                limit \(most)::bigint) t
            order by t.id desc
            """)
        return try .page("actions", of: rows, most: most)
    }

    /// The instance that is asked for, which there is.
    private func instance(_ fields: Fields) async throws -> String? {
        guard let instance = try fields.text("instance") else { return nil }
        try await refused { _ = try await pool.query("select koppeling.require_instance(\(instance)::text)") }
        return instance
    }

    /// Those that concern most actions.
    private func reasons(_ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let instance = try await instance(fields)
        let rows = try await pool.query(
            """
            select json_build_object('reasons', coalesce(json_agg(koppeling.in_utc(row_to_json(t))), '[]'))::text
            from (
                select instance, action, actions, latest, reason from koppeling.rejected_reasons
                where \(instance)::text is null or instance = \(instance)::text
                order by actions desc, instance, action, reason
                limit \(most)::bigint) t
            """)
        return Response(JSONText(try rows.scalar(as: String.self)))
    }

    private func run(_ fields: Fields, actor: String) async throws -> Response {
        let actions = try fields.numbers("actions", atMost: Int(Self.most))
        let (instance, reason) = (try fields.text("instance"), try fields.text("reason"))
        let template = try fields.choice("action", of: Template.self)?.rawValue
        guard (actions == nil) != (instance == nil), instance != nil || reason == nil && template == nil else {
            throw Problem(
                .unprocessableContent, "is missing: name the actions, or an instance for all that wait there",
                field: "actions")
        }
        let query: Query =
            if let instance, let reason {
                """
                select koppeling.run_rejected_actions(\(instance)::text, \(reason)::text, \(template)::text,
                    \(actor)::text)
                """
            } else if let instance {
                "select koppeling.run_waiting_actions(\(instance)::text, \(template)::text, \(actor)::text)"
            } else {
                "select koppeling.run_actions(\(actions ?? [])::bigint[], \(actor)::text)"
            }
        let count: Int64 = try await refused { try await pool.query(query).scalar() }
        let leftAlone = actions.map { Int64(Set($0).count) - count }
        return Response(try JSONText(encoding: Run(run: count, leftAlone: leftAlone)))
    }

    private struct Run: Encodable {
        var run: Int64
        /// Of the actions that were named: how many neither wait for somebody nor were rejected.
        var leftAlone: Int64?

        enum CodingKeys: String, CodingKey {
            case run
            case leftAlone = "left_alone"
        }
    }
}
