import Connector
import Hummingbird
import Postgres

/// `/api/v1/instances/{name}/merge-fields` and `.../genders/{gender}`: what fills the merge fields of a list.
struct MergeFieldsDoor: Sendable {
    static let most: Int64 = 1_000

    let pool: Pool
    let gate: Gate
    /// Nil where the service center runs without the key that the link needs.
    let instances: Instances?
    let mergeFields: MergeFields?

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/instances/:name/merge-fields") { request, context in
            try await gate.admit(request, to: .link)
            return try await list(
                decoded("name", in: context), try Fields(queryOf: request, known: ["after", "limit"]))
        }
        // Asks Mailchimp; the list is then what it answered.
        router.post("/api/v1/instances/:name/merge-fields/refresh") { request, context in
            try await gate.admit(request, to: .link)
            _ = try await Fields(bodyOf: request, known: [])
            return try await change(context) { fields, instance in try await fields.refresh(instance: instance) }
        }
        router.put("/api/v1/instances/:name/merge-fields/:tag") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            let given = try await Fields(bodyOf: request, known: ["source", "triggers", "make"])
            let source = try given.required("source", "say which field of a person fills it")
            let (triggers, name) = (try given.flag("triggers") ?? true, try given.text("make"))
            let tag = decoded("tag", in: context)
            return try await change(context) { fields, instance in
                try await fields.map(
                    tag, to: source, triggers: triggers, makingNamed: name, instance: instance, actor: actor)
            }
        }
        router.delete("/api/v1/instances/:name/merge-fields/:tag") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            let tag = decoded("tag", in: context)
            return try await change(context) { fields, instance in
                try await fields.unmap(tag, instance: instance, actor: actor)
            }
        }
        router.get("/api/v1/instances/:name/genders") { request, context in
            try await gate.admit(request, to: .link)
            _ = try Fields(queryOf: request, known: [])
            return try await genders(of: decoded("name", in: context))
        }
        router.put("/api/v1/instances/:name/genders/:gender") { request, context in
            let actor = try await gate.actor(of: request, with: .link)
            let given = try await Fields(bodyOf: request, known: ["text", "title"])
            let (text, title) = (try given.anyText("text"), try given.anyText("title"))
            guard let text else {
                throw Problem(.unprocessableContent, "is missing: its word, or \"\" for none", field: "text")
            }
            let (name, gender) = (decoded("name", in: context), decoded("gender", in: context))
            _ = try await refused {
                try await pool.query(
                    """
                    select koppeling.set_gender_text(\(name)::text, \(gender)::text, \(text)::text, \(title)::text,
                        \(actor)::text)
                    """)
            }
            return Response(status: .noContent)
        }
    }

    private func genders(of name: String) async throws -> Response {
        let rows = try await refused {
            try await pool.query(
                """
                select jsonb_build_object('genders', coalesce(jsonb_agg(jsonb_build_object(
                    'gender', g.gender, 'text', g.text, 'title', g.title) order by g.gender), '[]'))::text
                from koppeling.gender_text g
                where g.instance_id = koppeling.require_instance(\(name)::text)
                """)
        }
        return Response(JSONText(try rows.scalar(as: String.self)))
    }

    private func change(
        _ context: BasicRequestContext, _ body: (MergeFields, Instances.Instance) async throws -> Void
    ) async throws -> Response {
        guard let instances, let mergeFields else { throw Problem.noKey }
        try await refused {
            let instance = try await instances.find(decoded("name", in: context))
            do {
                try await body(mergeFields, instance)
            } catch let error where !(error is PostgresError || error is ConnectorError || error is CancellationError) {
                let renewal = ConnectorError.renewal(after: error)
                throw Problem(.badGateway, renewal ?? "Mailchimp did not do it: \(error)")
            }
        }
        return Response(status: .noContent)
    }

    private func list(_ name: String, _ fields: Fields) async throws -> Response {
        let most = try fields.integer("limit", in: 1...Self.most) ?? 100
        let after = try fields.text("after") ?? ""
        let rows = try await refused {
            try await pool.query(
                """
                select row_to_json(t)::text as line, to_json(t.tag)::text as key
                from (
                    select tag, name, type, required, source, triggers, fault from koppeling.merge_fields
                    where instance_id = koppeling.require_instance(\(name)::text) and tag > \(after)::text
                    order by tag
                    limit \(most)::bigint) t
                order by t.tag
                """)
        }
        return try .page("merge_fields", of: rows, most: most)
    }
}
