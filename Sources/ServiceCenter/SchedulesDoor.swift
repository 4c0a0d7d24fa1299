import Hummingbird
import Postgres

/// `/api/v1/schedules`: jobs that are enqueued at the moments of a cron expression.
///
/// The body of `PUT /api/v1/schedules/{name}` goes to the database as it came, so its fields, their checks and their
/// messages are those of the SQL function `koppeling.put_schedule`.
struct SchedulesDoor: Sendable {
    static let largestBody = 1024 * 1024
    static let mostSchedules: Int64 = 1_000

    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/schedules") { request, _ in
            try await gate.admit(request, to: .read)
            let fields = try Fields(queryOf: request, known: ["after", "limit"])
            return try await list(
                after: try fields.text("after"), most: try fields.integer("limit", in: 1...Self.mostSchedules) ?? 100)
        }
        router.get("/api/v1/schedules/:name") { request, context in
            try await gate.admit(request, to: .read)
            return try await show(decoded("name", in: context))
        }
        router.put("/api/v1/schedules/:name") { request, context in
            try await gate.admit(request, to: .operate)
            let name = decoded("name", in: context)
            try await put(name, try await request.json(upTo: Self.largestBody))
            return try await show(name)
        }
        router.delete("/api/v1/schedules/:name") { request, context in
            try await gate.admit(request, to: .operate)
            return try await remove(decoded("name", in: context))
        }
    }

    private func list(after name: String?, most: Int64) async throws -> Response {
        let rows = try await pool.query(
            """
            select json_build_object(
                'schedules', coalesce(json_agg(koppeling.in_utc(row_to_json(s)) order by s.name), '[]'),
                'next', case when count(*) = \(most)::bigint then max(s.name) end)::text
            from (
                select * from koppeling.schedules
                where \(name)::text is null or name > \(name)::text
                order by name
                limit \(most)::bigint) s
            """)
        return Response(JSONText(try rows.scalar(as: String.self)))
    }

    private func show(_ name: String) async throws -> Response {
        let rows = try await pool.query(
            """
            select koppeling.in_utc(row_to_json(s))::text as schedule from koppeling.schedules s
            where s.name = \(name)::text
            """)
        guard let row = rows.first else { throw noSuchSchedule(name) }
        return Response(JSONText(try row.decode("schedule", as: String.self)))
    }

    private func put(_ name: String, _ definition: JSONText) async throws {
        do throws(PostgresError) {
            try await pool.query("select koppeling.put_schedule_object(\(name)::text, \(definition), true)")
        } catch {
            throw Problem(bodyRefusal: error) ?? error
        }
    }

    private func remove(_ name: String) async throws -> Response {
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query("select koppeling.remove_schedule(\(name)::text, true)")
        } catch {
            throw Problem(refusal: error) ?? error
        }
        guard try rows.scalar(as: Bool.self) else { throw noSuchSchedule(name) }
        return Response(status: .noContent)
    }

    private func noSuchSchedule(_ name: String) -> Problem {
        Problem(.notFound, "There is no schedule \(name).", field: "name")
    }
}
