import Connector
import Hummingbird
import Postgres

/// `/api/v1/instances`: the linked lists, how they are, and what can be decided about each.
struct InstancesDoor: Sendable {
    static let most: Int64 = 1_000

    let pool: Pool
    let gate: Gate
    /// Nil where the service center runs without the key that the link needs.
    let instances: Instances?

    private enum Mode: String, CaseIterable { case automatic, manual }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/instances") { request, _ in
            try await gate.admit(request, to: .link)
            return try await list(try Fields(queryOf: request, known: ["after", "limit"]))
        }
        router.get("/api/v1/instances/:name") { request, context in
            try await gate.admit(request, to: .link)
            return try await show(decoded("name", in: context))
        }
        router.get("/api/v1/restored-nos") { request, _ in
            try await gate.rights(of: request, with: .link, .disclose)
            return try await restored(try Fields(queryOf: request, known: ["before", "limit"]))
        }
        router.post("/api/v1/instances/:name/enable") { request, context in
            try await turn(true, request, context)
        }
        router.post("/api/v1/instances/:name/disable") { request, context in
            try await turn(false, request, context)
        }
        router.post("/api/v1/instances/:name/pull") { request, context in
            try await gate.admit(request, to: .link)
            let full = try await Fields(bodyOf: request, known: ["full"]).flag("full") ?? false
            let instances = try linked()
            try await refused {
                try await instances.requestPull(instance: decoded("name", in: context), full: full)
            }
            return Response(status: .accepted)
        }
        router.put("/api/v1/instances/:name/dry-run") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            guard let isOn = try await Fields(bodyOf: request, known: ["on"]).flag("on") else {
                throw Problem(.unprocessableContent, "is missing: true or false", field: "on")
            }
            return try await change(context) { try await $0.setDryRun(isOn, instance: $1, actor: actor) }
        }
        router.put("/api/v1/instances/:name/templates/:template") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            let fields = try await Fields(bodyOf: request, known: ["mode"])
            guard let mode = try fields.choice("mode", of: Mode.self) else {
                throw Problem(.unprocessableContent, "is missing: automatic or manual", field: "mode")
            }
            let template = decoded("template", in: context)
            return try await change(context) {
                try await $0.setAutomatic(mode == .automatic, template: template, instance: $1, actor: actor)
            }
        }
        router.delete("/api/v1/instances/:name/templates/:template") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            let template = decoded("template", in: context)
            return try await change(context) {
                try await $0.removeTemplate(template, instance: $1, actor: actor)
            }
        }
    }

    private func turn(_ isOn: Bool, _ request: Request, _ context: BasicRequestContext) async throws -> Response {
        let actor = try await gate.actor(of: request, with: .link)
        _ = try await Fields(bodyOf: request, known: [])
        return try await change(context) { try await $0.setEnabled(isOn, instance: $1, actor: actor) }
    }

    /// Changes the instance that the path names, and shows how it is then.
    private func change(
        _ context: BasicRequestContext, _ body: (Instances, String) async throws -> Void
    ) async throws -> Response {
        let name = decoded("name", in: context)
        let instances = try linked()
        try await refused { try await body(instances, name) }
        return try await show(name)
    }

    private func linked() throws -> Instances {
        guard let instances else { throw Problem.noKey }
        return instances
    }

    private func list(_ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let after = try fields.text("after")
        let rows = try await pool.query(
            """
            select koppeling.in_utc(row_to_json(t))::text as line, to_json(t.instance)::text as key
            from (
                select * from koppeling.instance_status
                where \(after)::text is null or instance > \(after)::text
                order by instance
                limit \(most)::bigint) t
            order by t.instance
            """)
        return try .page("instances", of: rows, most: most)
    }

    private func show(_ name: String) async throws -> Response {
        let shown: String = try await refused {
            try await pool.query(
                """
                select (koppeling.in_utc(row_to_json(s))::jsonb || jsonb_build_object('templates', (
                    select jsonb_object_agg(t.action, case when t.automatic then 'automatic' else 'manual' end)
                    from koppeling.action_template t where t.instance_id = s.id)))::text
                from koppeling.instance_status s
                where s.id = koppeling.require_instance(\(name)::text)
                """
            ).scalar()
        }
        return Response(JSONText(shown))
    }

    private func restored(_ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let before = try fields.integer("before", in: 1...Int64.max / 2)
        let rows = try await pool.query(
            """
            select koppeling.in_utc(row_to_json(t))::text as line, t.id::text as key
            from (
                select * from koppeling.restored_nos
                where \(before)::bigint is null or id < \(before)::bigint
                order by id desc
                limit \(most)::bigint) t
            order by t.id desc
            """)
        return try .page("restored_nos", of: rows, most: most)
    }
}
