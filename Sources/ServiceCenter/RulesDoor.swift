import Hummingbird
import Postgres
import TargetGroups

/// `/api/v1/groups/{name}/rules`: who belongs to a group; `/preview` says what rules would do.
struct RulesDoor: Sendable {
    let groups: Groups
    let rules: Rules
    let gate: Gate

    init(pool: Pool, gate: Gate) {
        groups = Groups(pool: pool)
        rules = Rules(pool: pool)
        self.gate = gate
    }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/groups/:name/rules") { request, context in
            try await gate.admit(request, to: .groups)
            let group = try await group(in: context)
            return Response(try JSONText(encoding: try await refused { try await rules.list(group: group) }))
        }
        router.put("/api/v1/groups/:name/rules") { request, context in
            let actor = try await gate.actor(of: request, with: .groups)
            let body = try await RulesBody(of: request, known: ["version", "rules", "confirm"])
            guard let version = body.version else {
                throw Problem(
                    .unprocessableContent, "is missing: name the version that you read", field: "version")
            }
            let group = try await group(in: context)
            let saved = try await judged {
                try await rules.save(
                    body.rules, group: group, over: version, confirmOnlyNegated: body.confirm, actor: actor)
            }
            return Response(try JSONText(encoding: saved))
        }
        router.post("/api/v1/groups/:name/rules/preview") { request, context in
            let rights = try await gate.rights(of: request, with: .groups)
            let body = try await RulesBody(of: request, known: ["rules", "exact"])
            let group = try await group(in: context)
            var preview = try await judged {
                try await rules.preview(body.rules, group: group, exact: body.exact)
            }
            // The numbers tell of nobody; the sample does.
            if !rights.contains(.disclose) { preview.sample = [] }
            return Response(try JSONText(encoding: preview))
        }
    }

    /// The group is there: what is found to be missing or wrong is in the rules.
    private func judged<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await refused(body)
        } catch var problem as Problem where [.notFound, .unprocessableContent].contains(problem.status) {
            problem.status = .unprocessableContent
            problem.field = problem.field ?? "rules"
            throw problem
        }
    }

    private func group(in context: BasicRequestContext) async throws -> Int64 {
        try await refused { try await groups.require(decoded("name", in: context)).id }
    }
}
