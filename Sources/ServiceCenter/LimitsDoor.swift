import Hummingbird
import Postgres

/// `/api/v1/limits`: how many jobs of a limit key run at once and start in a period.
struct LimitsDoor: Sendable {
    static let mostLimits: Int64 = 1_000

    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/limits") { request, _ in
            try await gate.admit(request, to: .read)
            let fields = try Fields(queryOf: request, known: ["after", "limit"])
            return try await list(
                after: try fields.text("after"), most: try fields.integer("limit", in: 1...Self.mostLimits) ?? 100)
        }
        router.get("/api/v1/limits/:key") { request, context in
            try await gate.admit(request, to: .read)
            return try await show(decoded("key", in: context))
        }
        router.put("/api/v1/limits/:key") { request, context in
            try await gate.admit(request, to: .operate)
            let fields = try await Fields(bodyOf: request, known: ["concurrency", "rate", "period"])
            return try await set(decoded("key", in: context), fields)
        }
        router.delete("/api/v1/limits/:key") { request, context in
            try await gate.admit(request, to: .operate)
            return try await remove(decoded("key", in: context))
        }
    }

    private func list(after: String?, most: Int64) async throws -> Response {
        let rows = try await pool.query(
            """
            select json_build_object(
                'limits', coalesce(json_agg(koppeling.in_utc(row_to_json(l)) order by l.limit_key), '[]'),
                'next', case when count(*) = \(most)::bigint then max(l.limit_key) end)::text
            from (
                select limit_key, concurrency, rate, extract(epoch from period) as period, running, waiting, tokens,
                    opens_at
                from koppeling.limits
                where \(after)::text is null or limit_key > \(after)::text
                order by limit_key
                limit \(most)) l
            """)
        return Response(JSONText(try rows.scalar(as: String.self)))
    }

    private func show(_ key: String) async throws -> Response {
        let rows = try await pool.query(
            """
            select koppeling.in_utc(row_to_json(l))::text as "limit"
            from (
                select limit_key, concurrency, rate, extract(epoch from period) as period, running, waiting, tokens,
                    opens_at
                from koppeling.limits
                where limit_key = \(key)) l
            """)
        guard let row = rows.first else { throw noSuchLimit(key) }
        return Response(JSONText(try row.decode("limit", as: String.self)))
    }

    private func set(_ key: String, _ fields: Fields) async throws -> Response {
        let most = Int64(Int32.max)
        let concurrency = try fields.integer("concurrency", in: 1...most)
        let rate = try fields.integer("rate", in: 1...most)
        let period = try fields.number("period")
        do throws(PostgresError) {
            try await pool.query(
                """
                select koppeling.set_limit(\(key), \(concurrency)::int, \(rate)::int,
                    make_interval(secs => \(period)::float8))
                """)
        } catch {
            throw Problem(refusal: error) ?? error
        }
        return try await show(key)
    }

    private func remove(_ key: String) async throws -> Response {
        guard try await pool.query("select koppeling.remove_limit(\(key))").scalar(as: Bool.self) else {
            throw noSuchLimit(key)
        }
        return Response(status: .noContent)
    }

    private func noSuchLimit(_ key: String) -> Problem {
        Problem(.notFound, "There is no limit for \(key).", field: "limit_key")
    }
}
