import Hummingbird
import Postgres

/// `GET /api/v1/jobs` and `GET /api/v1/jobs/{id}`: which jobs there are, and everything about one.
struct JobPages: Sendable {
    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/jobs") { request, _ in
            try await gate.admit(request, to: .read)
            return try await list(
                try Fields(queryOf: request, known: ["state", "queue", "kind", "key", "before", "limit"]))
        }
        router.get("/api/v1/jobs/:id") { request, context in
            try await gate.admit(request, to: .read)
            return try await show(try job(in: context))
        }
    }

    /// A page, without what jobs are about: that may be much, and is shown of a single one.
    private func list(_ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...1_000) ?? 100
        let before = try fields.integer("before", in: 1...Int64.max / 2)
        let (state, queue, kind) = (try fields.text("state"), try fields.text("queue"), try fields.text("kind"))
        let key = try fields.text("key")
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query(
                """
                select json_build_object(
                    'jobs', coalesce(json_agg(koppeling.in_utc(row_to_json(j)) order by j.id desc), '[]'),
                    'next', case when count(*) = \(most)::bigint then min(j.id) end)::text
                from (
                    select id, state, queue, kind, key, order_key, limit_key, priority, attempt, max_attempts, snoozes,
                        enqueued_at, run_at, started_at, finished_at, worker, blocked_by, reason
                    from koppeling.newest_jobs(\(most)::int, \(state)::text, \(queue)::text, \(kind)::text,
                        \(before)::bigint, \(key)::text)) j
                """)
        } catch {
            throw Problem(refusal: error) ?? error
        }
        return Response(JSONText(try rows.scalar(as: String.self)))
    }

    private func show(_ id: Int64) async throws -> Response {
        let rows = try await pool.query(
            """
            select (koppeling.in_utc(row_to_json(j))::jsonb || jsonb_build_object('attempts', (
                select coalesce(
                    jsonb_agg(koppeling.in_utc(row_to_json(a))::jsonb - 'job_id' order by a.started_at), '[]')
                from koppeling.job_attempts a where a.job_id = j.id)))::text as job
            from koppeling.jobs j
            where j.id = \(id)
            """)
        guard let row = rows.first else { throw Problem.noSuchJob(id) }
        return Response(JSONText(try row.decode("job", as: String.self)))
    }
}

/// The number of the job that the path names.
func job(in context: BasicRequestContext) throws -> Int64 {
    guard let id = context.parameters.get("id", as: Int64.self) else {
        throw Problem(.notFound, "A job has a number.", field: "id")
    }
    return id
}

extension Problem {
    /// The answer when there is no job of this number.
    static func noSuchJob(_ id: Int64) -> Problem {
        Problem(.notFound, "There is no job \(id), or it was finished so long ago that it is forgotten.", field: "id")
    }
}
