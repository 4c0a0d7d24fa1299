import Connector
import Hummingbird
import Postgres

/// `POST /api/v1/persons` and `POST /api/v1/companies`: one, or an array of up to 1,000 that are put together or not at
/// all.
///
/// The body goes to the database as it came: the fields and their checks are those of `koppeling.put_person` and
/// `koppeling.put_company`. The same put twice changes nothing the second time, so it may be repeated.
struct PutsDoor: Sendable {
    static let largestBody = 1024 * 1024
    static let most: Int32 = 1_000

    let pool: Pool
    let gate: Gate
    /// Nil where the key that opens the ledger is missing.
    let erasures: Erasures?

    func add(to router: Router<BasicRequestContext>) {
        router.post("/api/v1/persons") { request, _ in
            try await gate.admit(request, to: .persons)
            let body = try await request.json(upTo: Self.largestBody)
            return try await put(body, ofPersons: true) { body, isList in
                isList
                    ? "select koppeling.put_persons(\(body)::jsonb)" : "select koppeling.put_person(\(body)::jsonb)"
            }
        }
        router.post("/api/v1/companies") { request, _ in
            try await gate.admit(request, to: .persons)
            return try await put(try await request.json(upTo: Self.largestBody)) { body, isList in
                isList
                    ? "select koppeling.put_companies(\(body)::jsonb)" : "select koppeling.put_company(\(body)::jsonb)"
            }
        }
    }

    private func put(
        _ body: JSONText, ofPersons: Bool = false, _ query: (JSONText, _ isList: Bool) -> Query
    ) async throws -> Response {
        do {
            let count = try await pool.query(
                """
                select case when jsonb_typeof(b) = 'array' then jsonb_array_length(b) end
                from (select \(body)::jsonb as b) given
                """
            ).scalar(as: Int32?.self)
            guard count ?? 0 <= Self.most else {
                throw Problem(.unprocessableContent, "At most \(Self.most) at once; send them in parts.")
            }
            // None for somebody who was anonymised and is not there.
            let number = try await pool.query(query(body, count != nil)).scalar(as: Int64?.self)
            // Who was erased is taken out again by whoever looks at the ledger: her number is nobody's.
            let erased = ofPersons ? try await erasures?.count(amongPuts: body) ?? 0 : 0
            var answer = count == nil ? ["id": erased == 0 ? number : nil] : ["count": number]
            if erased > 0 { answer["erased"] = erased }
            return Response(try JSONText(encoding: answer))
        } catch let error as PostgresError {
            throw Problem(domainRefusal: error) ?? error
        }
    }
}
