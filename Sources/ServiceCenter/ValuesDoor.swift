import Hummingbird
import Postgres
import TargetGroups

/// `POST /api/v1/values/rename` and `POST /api/v1/companies/{source}/{id}/merge`: the names of what rules ask for, and two
/// records of one company.
struct ValuesDoor: Sendable {
    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
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
}
