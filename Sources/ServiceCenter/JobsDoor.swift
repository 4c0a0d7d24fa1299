import HTTPTypes
import Hummingbird
import NIOCore
import Postgres

/// `POST /api/v1/jobs`: one job, or an array of up to 1,000 that are enqueued together or not at all.
///
/// The body goes to the database as it came, so the fields, their checks and their messages are those of the SQL function
/// `koppeling.enqueue_each`. With an `Idempotency-Key` a request may be repeated for a day: what was enqueued the first
/// time is answered again.
struct JobsDoor: Sendable {
    static let largestBody = 1024 * 1024

    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.post("/api/v1/jobs") { request, _ in
            let token = try await gate.admit(request, to: .enqueue)
            let key = try key(of: request)
            let body = try await request.json(upTo: Self.largestBody)
            return try await enqueue(body, token: token, key: key)
        }
    }

    private func key(of request: Request) throws -> String? {
        guard let name = HTTPField.Name(Self.keyHeader), let key = request.headers[name] else { return nil }
        guard (1...255).contains(key.unicodeScalars.count) else {
            throw Problem(.badRequest, "A key has 1 to 255 characters.", field: Self.keyHeader)
        }
        return key
    }

    private func enqueue(_ body: JSONText, token: Int64, key: String?) async throws -> Response {
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query(
                """
                select verdict, ids, is_list from koppeling.enqueue_request(\(token), \(key), \(body))
                """)
        } catch {
            guard var problem = Problem(bodyRefusal: error) else { throw error }
            problem.field = problem.field.map { Self.field($0, isArray: body.text.first { !$0.isWhitespace } == "[") }
            throw problem
        }
        guard let row = rows.first else { throw Problem(.internalServerError, "The database did not answer.") }
        let verdict = try row.decode("verdict", as: String.self)
        if verdict == "mismatch" {
            throw Problem(
                .unprocessableContent,
                "This key came with another body in the last 24 hours; nothing was enqueued. Take a new key for a new request.",
                field: Self.keyHeader)
        }
        let ids = try row.decode("ids", as: [Int64].self)
        let json =
            try row.decode("is_list", as: Bool.self)
            ? try JSONText(encoding: ["ids": ids]) : try JSONText(encoding: ["id": ids.first])
        var response = Response(json, status: .created)
        if verdict == "repeated", let name = HTTPField.Name("Idempotency-Replayed") { response.headers[name] = "true" }
        return response
    }

    /// The name of a field as the caller knows it: the database always sees a list called `jobs`.
    private static func field(_ name: String, isArray: Bool) -> String {
        let prefix = isArray ? "jobs" : "jobs[0]."
        return name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
    }

    private static let keyHeader = "Idempotency-Key"
}
