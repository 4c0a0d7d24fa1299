import Connector
import Hummingbird
import NIOCore
import Postgres

/// `/api/v1/plans`: changes that wait for approval; and the thresholds of `/api/v1/groups/{name}/thresholds`, beyond which
/// they do.
struct PlansDoor: Sendable {
    static let most: Int64 = 1_000

    let pool: Pool
    let gate: Gate

    private var plans: Plans { Plans(pool: pool) }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/plans") { request, _ in
            try await gate.admit(request, to: .link)
            return try await list(try Fields(queryOf: request, known: ["state", "before", "limit"]))
        }
        router.get("/api/v1/plans/:id") { request, context in
            try await gate.admit(request, to: .link)
            return Response(try JSONText(encoding: try await plan(in: context)))
        }
        router.get("/api/v1/plans/:id/lines") { request, context in
            try await gate.rights(of: request, with: .link, .disclose)
            return try await lines(
                of: try await plan(in: context), try Fields(queryOf: request, known: ["after", "limit"]))
        }
        router.get("/api/v1/plans/:id/causes") { request, context in
            try await gate.admit(request, to: .link)
            struct Told: Encodable { var version: Int, causes: [Plans.Cause] }
            let plan = try await plan(in: context)
            let most = try Fields(queryOf: request, known: ["limit"]).integer("limit", in: 1...Self.most) ?? 100
            return Response(
                try JSONText(
                    encoding: Told(
                        version: plan.version, causes: try await plans.causes(plan: plan.id, limit: Int(most)))))
        }
        router.get("/api/v1/plans/:id/export") { request, context in
            try await gate.rights(of: request, with: .link, .disclose)
            return export(try await plan(in: context))
        }
        router.post("/api/v1/plans/:id/approve") { request, context in
            let (plan, version, actor) = try await seen(request, context)
            let persons = try await refused { try await plans.approve(plan: plan, version: version, actor: actor) }
            return Response(try JSONText(encoding: ["persons": persons]))
        }
        router.post("/api/v1/plans/:id/discard") { request, context in
            let (plan, version, actor) = try await seen(request, context)
            let left = try await refused { try await plans.discard(plan: plan, version: version, actor: actor) }
            return Response(try JSONText(encoding: ["left": left]))
        }
        router.get("/api/v1/groups/:name/thresholds") { request, context in
            try await gate.admit(request, to: .link)
            return try await thresholds(of: decoded("name", in: context))
        }
        router.put("/api/v1/groups/:name/thresholds") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            let group = decoded("name", in: context)
            let body = try await request.json(upTo: Fields.largestBody)
            _ = try await refused {
                try await pool.query("select koppeling.set_thresholds(\(group)::text, \(body)::jsonb, \(actor)::text)")
            }
            return try await thresholds(of: group)
        }
    }

    private func list(_ fields: Fields) async throws -> Response {
        enum State: String, CaseIterable { case held, approved, applied, discarded, dissolved }
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let page = try await plans.list(
            state: try fields.choice("state", of: State.self)?.rawValue,
            before: try fields.integer("before", in: 1...Int64.max / 2), limit: Int(most))
        return try .page("plans", of: page, next: page.count == Int(most) ? page.last?.id : nil)
    }

    private func lines(of plan: Plans.Plan, _ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let page = try await plans.lines(
            plan: plan.id, after: try fields.integer("after", in: 0...Int64.max / 2) ?? 0, limit: Int(most))
        return try .page(
            "lines", of: page, next: page.count == Int(most) ? page.last?.person : nil, version: plan.version)
    }

    /// All lines as they come from the database: however long the plan, a piece at a time is in memory.
    private func export(_ plan: Plans.Plan) -> Response {
        var headers: HTTPFields = [.contentType: "text/csv; charset=utf-8", .cacheControl: "no-store"]
        headers[.contentDisposition] = "attachment; filename=\"plan-\(plan.id)-version-\(plan.version).csv\""
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody { writer in
                try await plans.export(plan: plan.id) { @concurrent piece in
                    try await writer.write(ByteBuffer(bytes: piece))
                }
                try await writer.finish(nil)
            })
    }

    private func plan(in context: BasicRequestContext) async throws -> Plans.Plan {
        let number = try number("id", of: "A plan", in: context)
        return try await refused { try await plans.find(number) }
    }

    /// The plan in the version that was seen, and who says so.
    private func seen(
        _ request: Request, _ context: BasicRequestContext
    ) async throws -> (plan: Int64, version: Int, actor: String) {
        let actor = try await gate.actor(of: request, with: .link)
        let fields = try await Fields(bodyOf: request, known: ["version"])
        guard let version = try fields.integer("version", in: 0...Int64(Int32.max)) else {
            throw Problem(.unprocessableContent, "is missing: name the version that you looked at", field: "version")
        }
        return (try number("id", of: "A plan", in: context), Int(version), actor)
    }

    private func thresholds(of group: String) async throws -> Response {
        let rows = try await pool.query(
            """
            select (to_jsonb(t) - 'target_group_id')::text as thresholds from koppeling.plan_thresholds t
            where koppeling.fold(t.target_group) = koppeling.fold(\(group)::text)
            """)
        guard let row = rows.first else {
            throw Problem(.notFound, "There is no linked target group \(group).", field: "name")
        }
        return Response(JSONText(try row.decode("thresholds", as: String.self)))
    }
}

/// The number that the path names.
func number(_ name: String, of what: String, in context: BasicRequestContext) throws -> Int64 {
    guard let number = context.parameters.get(name, as: Int64.self) else {
        throw Problem(.notFound, "\(what) has a number.", field: name)
    }
    return number
}
