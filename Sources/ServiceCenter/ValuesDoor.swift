import Hummingbird
import Postgres
import TargetGroups

/// `GET /api/v1/values/{kind}`, `POST /api/v1/values/rename` and `POST /api/v1/companies/{source}/{id}/merge`: the names of what rules ask for, and two
/// records of one company.
struct ValuesDoor: Sendable {
    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/values/:kind") { request, context in
            try await gate.admit(request, to: .groups)
            return try await list(
                decoded("kind", in: context), try Fields(queryOf: request, known: ["prefix", "after", "limit"]))
        }
        router.post("/api/v1/values/rename") { request, _ in
            try await gate.admit(request, to: .groups)
            let fields = try await Fields(bodyOf: request, known: ["kind", "old", "new"])
            guard let kind = try fields.choice("kind", of: ValueKind.self) else {
                throw Problem(.unprocessableContent, "is missing: what it is a value of", field: "kind")
            }
            let old = try fields.required("old", "the name it has")
            let new = try fields.required("new", "the name it is to have")
            try await refused { try await Values(pool: pool).rename(kind, old, to: new) }
            return Response(status: .noContent)
        }
        router.post("/api/v1/companies/:source/:id/merge") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            let fields = try await Fields(bodyOf: request, known: ["source", "id"])
            let wish = "name the company that is merged into this one"
            let other = Identity(source: try fields.required("source", wish), id: try fields.required("id", wish))
            let survivor = Identity(source: decoded("source", in: context), id: decoded("id", in: context))
            try await refused { try await Companies(pool: pool).merge(other, into: survivor, actor: actor) }
            return Response(status: .noContent)
        }
    }

    private func list(_ kind: String, _ fields: Fields) async throws -> Response {
        guard let kind = Criterion.Kind(rawValue: kind) else {
            let known = Criterion.Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.notFound, "The kinds of values are \(known).", field: "kind")
        }
        struct Value: Encodable { var name: String }
        let most = Int(try fields.integer("limit", in: 1...1_000) ?? 100)
        let (prefix, after) = (try fields.text("prefix") ?? "", try fields.text("after"))
        let names = try await refused {
            try await Values(pool: pool).list(kind, prefix: prefix, after: after, limit: most)
        }
        return try .page("values", of: names.map(Value.init), next: names.count == most ? names.last : nil)
    }
}
