import Connector
import Hummingbird
import Postgres

/// `/api/v1/tasks`: what only a person can settle; with `/done` it is said to be settled.
struct TasksDoor: Sendable {
    static let most: Int64 = 1_000

    let pool: Pool
    let gate: Gate

    private enum State: String, CaseIterable { case open, done, all }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/tasks") { request, _ in
            let rights = try await gate.rights(of: request, with: .link)
            return try await list(
                try Fields(queryOf: request, known: ["state", "kind", "before", "limit"]),
                isDisclosed: rights.contains(.disclose))
        }
        router.post("/api/v1/tasks/done") { request, _ in
            let actor = try await gate.actor(of: request, with: .link)
            let fields = try await Fields(bodyOf: request, known: ["tasks"])
            guard let tasks = try fields.numbers("tasks", atMost: Int(Self.most)) else {
                throw Problem(.unprocessableContent, "is missing: list the tasks that are settled", field: "tasks")
            }
            let done: Int64 = try await refused {
                try await pool.query("select koppeling.finish_tasks(\(tasks)::bigint[], \(actor)::text)").scalar()
            }
            return Response(try JSONText(encoding: ["done": done]))
        }
    }

    private func list(_ fields: Fields, isDisclosed: Bool) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let state = (try fields.choice("state", of: State.self) ?? .open).rawValue
        let kind = try fields.choice("kind", of: TaskKind.self)?.rawValue
        let before = try fields.integer("before", in: 1...Int64.max / 2)
        let rows = try await pool.query(
            """
            select (koppeling.in_utc(row_to_json(t))::jsonb
                       - case when \(isDisclosed)::boolean then '{}' else '{person,source,external_id,address,contact,detail}' end::text[])::text as line,
                   t.id::text as key
            from (
                select id, kind, state, instance, target_group, person, source, external_id, address, contact,
                    detail, created_at, done_at, done_by
                from koppeling.tasks
                where \(state)::text in ('all', state) and (\(kind)::text is null or kind = \(kind)::text)
                    and (\(before)::bigint is null or id < \(before)::bigint)
                order by id desc
                limit \(most)::bigint) t
            order by t.id desc
            """)
        return try .page("tasks", of: rows, most: most)
    }
}
