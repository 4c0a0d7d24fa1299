import Hummingbird
import Postgres

/// `/api/v1/pauses`: queues, kinds and keys of which nothing starts for now.
struct PausesDoor: Sendable {
    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/pauses") { request, _ in
            try await gate.admit(request, to: .read)
            let fields = try Fields(queryOf: request, known: ["before", "limit"])
            return try await list(
                before: try fields.integer("before", in: 1...Int64.max / 2),
                most: try fields.integer("limit", in: 1...1_000) ?? 100)
        }
        router.post("/api/v1/pauses") { request, _ in
            try await gate.admit(request, to: .operate)
            return try await pause(try await Fields(bodyOf: request, known: ["queue", "kind", "key", "reason"]))
        }
        router.delete("/api/v1/pauses") { request, _ in
            try await gate.admit(request, to: .operate)
            return try await resume(try Fields(queryOf: request, known: ["queue", "kind", "key"]))
        }
    }

    private func list(before: Int64?, most: Int64) async throws -> Response {
        let rows = try await pool.query(
            """
            select json_build_object(
                'pauses', coalesce(json_agg(koppeling.in_utc(row_to_json(p)) order by p.id desc), '[]'),
                'next', case when count(*) = \(most)::bigint then min(p.id) end)::text
            from (
                select id, queue, kind, key, reason, paused_at from koppeling.pauses
                where \(before)::bigint is null or id < \(before)::bigint
                order by id desc
                limit \(most)) p
            """)
        return Response(JSONText(try rows.scalar(as: String.self)))
    }

    private func pause(_ fields: Fields) async throws -> Response {
        let (queue, kind, key) = (try fields.text("queue"), try fields.text("kind"), try fields.text("key"))
        let reason = try fields.text("reason")
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query(
                "select koppeling.pause(\(queue)::text, \(kind)::text, \(key)::text, \(reason)::text)")
        } catch {
            throw Problem(refusal: error) ?? error
        }
        return Response(try JSONText(encoding: ["id": try rows.scalar(as: Int64.self)]), status: .created)
    }

    private func resume(_ fields: Fields) async throws -> Response {
        let (queue, kind, key) = (try fields.text("queue"), try fields.text("kind"), try fields.text("key"))
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query("select koppeling.resume(\(queue)::text, \(kind)::text, \(key)::text)")
        } catch {
            throw Problem(refusal: error) ?? error
        }
        guard try rows.scalar(as: Bool.self) else { throw Problem(.notFound, "Nothing is paused by exactly these.") }
        return Response(status: .noContent)
    }
}
