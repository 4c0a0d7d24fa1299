import Hummingbird
import Postgres

/// What may be done with a person: `POST /api/v1/persons/{source}/{id}/archive`, and likewise `reactivate`,
/// `unsubscribe`, `invite`, `merge` and `erase`.
struct PersonDesk: Sendable {
    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.post("/api/v1/persons/:source/:id/archive") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            _ = try await Fields(bodyOf: request, known: [])
            let (source, id) = person(in: context)
            return try await answer(
                "select koppeling.archive_person(\(source)::text, \(id)::text, \(actor)::text)")
        }
        router.post("/api/v1/persons/:source/:id/reactivate") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            _ = try await Fields(bodyOf: request, known: [])
            let (source, id) = person(in: context)
            return try await answer(
                "select koppeling.reactivate_person(\(source)::text, \(id)::text, \(actor)::text)")
        }
        router.post("/api/v1/persons/:source/:id/unsubscribe") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            let group = try await Fields(bodyOf: request, known: ["group"]).text("group")
            let (source, id) = person(in: context)
            let groups: Int64 = try await domain(
                "select koppeling.unsubscribe_person(\(source)::text, \(id)::text, \(group)::text, \(actor)::text)"
            ).scalar()
            return Response(try JSONText(encoding: ["groups": groups]))
        }
        router.post("/api/v1/persons/:source/:id/invite") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            let group = try await Fields(bodyOf: request, known: ["group"]).text("group")
            let (source, id) = person(in: context)
            let groups: Int64 = try await domain(
                "select koppeling.invite_person(\(source)::text, \(id)::text, \(group)::text, \(actor)::text)"
            ).scalar()
            return Response(try JSONText(encoding: ["groups": groups]))
        }
        router.post("/api/v1/persons/:source/:id/merge") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            let fields = try await Fields(bodyOf: request, known: ["source", "id"])
            let (source, id) = person(in: context)
            let (otherSource, otherID) = (try required("source", fields), try required("id", fields))
            return try await answer(
                """
                select koppeling.merge_persons(
                    \(source)::text, \(id)::text, \(otherSource)::text, \(otherID)::text, \(actor)::text)
                """)
        }
        // A worker erases, which has the key that the ledger of erasures is kept with.
        router.post("/api/v1/persons/:source/:id/erase") { request, context in
            let actor = try await gate.actor(of: request, with: .persons)
            _ = try await Fields(bodyOf: request, known: [])
            let (source, id) = person(in: context)
            let person: Int64 = try await domain(
                "select koppeling.erase_person(\(source)::text, \(id)::text, \(actor)::text)"
            ).scalar()
            var answer = Response(try JSONText(encoding: ["id": person]), status: .accepted)
            answer.headers[.location] = ErasuresDoor.path(of: person)
            return answer
        }
    }

    private func answer(_ query: Query) async throws -> Response {
        try await domain(query)
        return Response(status: .noContent)
    }

    @discardableResult
    private func domain(_ query: Query) async throws -> Rows {
        do throws(PostgresError) {
            return try await pool.query(query)
        } catch {
            throw Problem(domainRefusal: error) ?? error
        }
    }

    private func required(_ name: String, _ fields: Fields) throws -> String {
        guard let text = try fields.text(name) else {
            throw Problem(.unprocessableContent, "is missing: name the person who is merged into this one", field: name)
        }
        return text
    }
}

/// The person whom the path names.
func person(in context: BasicRequestContext) -> (source: String, id: String) {
    (decoded("source", in: context), decoded("id", in: context))
}
