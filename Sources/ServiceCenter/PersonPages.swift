import Hummingbird
import Postgres

/// `GET /api/v1/persons/{source}/{id}`: everything that is held on a person; with `/why?group=` why she is, or is not, in
/// a group and on its list.
struct PersonPages: Sendable {
    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/persons/:source/:id") { request, context in
            try await gate.admit(request, to: .disclose)
            _ = try Fields(queryOf: request, known: [])
            let (source, id) = person(in: context)
            return try await answer("select koppeling.export_person(\(source)::text, \(id)::text)")
        }
        router.get("/api/v1/persons/:source/:id/why") { request, context in
            try await gate.admit(request, to: .disclose)
            let fields = try Fields(queryOf: request, known: ["group", "at"])
            guard let group = try fields.text("group") else {
                throw Problem(.unprocessableContent, "is missing: name the group", field: "group")
            }
            let moment = try fields.moment("at")
            let (source, id) = person(in: context)
            return try await answer(
                "select koppeling.why(\(source)::text, \(id)::text, \(group)::text, \(moment)::timestamptz)")
        }
    }

    private func answer(_ query: Query) async throws -> Response {
        do throws(PostgresError) {
            return Response(try await pool.query(query).scalar(as: JSONText.self))
        } catch {
            throw Problem(domainRefusal: error) ?? error
        }
    }
}
