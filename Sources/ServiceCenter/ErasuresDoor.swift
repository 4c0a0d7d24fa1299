import Hummingbird
import Postgres

/// `GET /api/v1/erasures/{id}`: what the erasure of the person of this number did, and what it still waits for.
struct ErasuresDoor: Sendable {
    let pool: Pool
    let gate: Gate

    /// Where the report on a person's erasure is, or will be.
    static func path(of person: Int64) -> String { "/api/v1/erasures/\(person)" }

    func add(to router: Router<BasicRequestContext>) {
        router.get("/api/v1/erasures/:id") { request, context in
            try await gate.admit(request, to: .persons)
            _ = try Fields(queryOf: request, known: [])
            let person = try number("id", of: "A person", in: context)
            let report: JSONText? = try await pool.query("select koppeling.erasure_of(\(person)::bigint)").scalar()
            guard let report else {
                throw Problem(.notFound, "Nobody of the number \(person) was erased, or waits to be.", field: "id")
            }
            return Response(report)
        }
    }
}
