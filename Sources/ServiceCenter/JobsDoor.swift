import Hummingbird
import NIOCore
import Postgres

/// `POST /api/v1/jobs`: one job, or an array of up to 1,000 that are enqueued together or not at all.
///
/// The body goes to the database as it came, so the fields, their checks and their messages are those of the SQL function
/// `koppeling.enqueue_each`.
struct JobsDoor: Sendable {
    static let largestBody = 1024 * 1024
    static let mostJobs = 1_000

    let pool: Pool
    let tokens: APITokens

    func add(to router: Router<BasicRequestContext>) {
        router.post("/api/v1/jobs") { request, _ in
            try await checkToken(of: request)
            let body = try await body(of: request)
            let (isArray, ids) = try await enqueue(body)
            return try answer(isArray, ids)
        }
    }

    private func checkToken(of request: Request) async throws {
        let scheme = "Bearer "
        guard
            let header = request.headers[.authorization],
            header.prefix(scheme.count).lowercased() == scheme.lowercased(),
            try await tokens.isKnown(String(header.dropFirst(scheme.count)))
        else {
            var problem = Problem(
                .unauthorized, "Send a token that was not revoked, as: Authorization: Bearer TOKEN.")
            problem.headers[.wwwAuthenticate] = "Bearer"
            throw problem
        }
    }

    private func body(of request: Request) async throws -> JSONText {
        do {
            return JSONText(utf8: try await request.body.collect(upTo: Self.largestBody).readableBytesView)
        } catch is NIOTooManyBytesError {
            throw Problem(.contentTooLarge, "A body is at most \(Self.largestBody) bytes long; send the jobs in parts.")
        }
    }

    private func enqueue(_ body: JSONText) async throws -> (isArray: Bool, ids: [Int64]) {
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query(
                """
                select kind,
                    case
                        when kind = 'object' then koppeling.enqueue_each(jsonb_build_array(body))
                        when kind = 'array' then
                            case when jsonb_array_length(body) <= \(Self.mostJobs)::int then koppeling.enqueue_each(body) end
                    end as ids
                from (select body, jsonb_typeof(body) as kind from (select \(body) as body) as sent) as request
                """)
        } catch {
            // Not JSON at all, or JSON with a character that PostgreSQL does not keep.
            if error.sqlState == "22P02" || error.sqlState == "22P05" {
                throw Problem(.badRequest, "The body is not JSON that can be stored: \(error.message).")
            }
            guard var problem = Problem(refusal: error) else { throw error }
            problem.field = problem.field.map { Self.field($0, isArray: body.text.first { !$0.isWhitespace } == "[") }
            throw problem
        }
        guard let row = rows.first else { throw Problem(.internalServerError, "The database did not answer.") }
        let kind = try row.decode("kind", as: String.self)
        guard let ids = try row.decode("ids", as: [Int64]?.self) else {
            throw Problem(
                .unprocessableContent, "The body is one job as an object, or an array of at most \(Self.mostJobs) jobs."
            )
        }
        return (kind == "array", ids)
    }

    /// The name of a field as the caller knows it: the database always sees a list called `jobs`.
    private static func field(_ name: String, isArray: Bool) -> String {
        let prefix = isArray ? "jobs" : "jobs[0]."
        return name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
    }

    private func answer(_ isArray: Bool, _ ids: [Int64]) throws -> Response {
        let json = isArray ? try JSONText(encoding: ["ids": ids]) : try JSONText(encoding: ["id": ids.first])
        return Response(
            status: .created, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: json.text)))
    }
}
