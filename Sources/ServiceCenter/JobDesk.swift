import FoundationEssentials
import Hummingbird
import Postgres

/// What a person may do with jobs: `POST /api/v1/jobs/{id}/cancel`, `/api/v1/jobs/{id}/retry` and, for all rejected ones
/// that match, `/api/v1/jobs/retry`.
struct JobDesk: Sendable {
    /// So many at once, so that a request ends: who wants more sends it again.
    static let mostRetries: Int64 = 1_000

    let pool: Pool
    let gate: Gate

    func add(to router: Router<BasicRequestContext>) {
        router.post("/api/v1/jobs/:id/cancel") { request, context in
            try await gate.admit(request, to: .operate)
            let fields = try await Fields(bodyOf: request, known: ["reason"])
            return try await cancel(try job(in: context), reason: try fields.text("reason") ?? "cancelled over HTTP")
        }
        router.post("/api/v1/jobs/:id/retry") { request, context in
            try await gate.admit(request, to: .operate)
            return try await retry(try job(in: context))
        }
        router.post("/api/v1/jobs/retry") { request, _ in
            try await gate.admit(request, to: .operate)
            let fields = try await Fields(
                bodyOf: request, known: ["queue", "kind", "reason", "since", "until", "limit"])
            return try await retryRejected(fields)
        }
    }

    private func cancel(_ id: Int64, reason: String) async throws -> Response {
        let isCancelled = try await pool.query("select koppeling.cancel_job(\(id), \(reason))").scalar(as: Bool.self)
        let state = try await state(of: id)
        guard isCancelled else {
            throw Problem(.conflict, "The job is \(state) and cannot be cancelled any more.", field: "id")
        }
        struct Answer: Encodable {
            var id: Int64
            /// Still running for the moment that its worker takes to hear of it.
            var state: String
        }
        return Response(try JSONText(encoding: Answer(id: id, state: state)), status: .accepted)
    }

    private func retry(_ id: Int64) async throws -> Response {
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query("select koppeling.retry_job(\(id))")
        } catch {
            guard error.sqlState == "22023" else { throw error }
            throw Problem(
                .conflict, "The job is \(try await state(of: id)); only a rejected or cancelled one is run again.",
                field: "id")
        }
        return Response(try JSONText(encoding: ["id": try rows.scalar(as: Int64.self)]))
    }

    private func retryRejected(_ fields: Fields) async throws -> Response {
        let (queue, kind, reason) = (try fields.text("queue"), try fields.text("kind"), try fields.text("reason"))
        let (since, until) = (try fields.moment("since"), try fields.moment("until"))
        let most = try fields.integer("limit", in: 1...Self.mostRetries) ?? Self.mostRetries
        let count = try await pool.query(
            """
            select koppeling.retry_rejected(\(queue)::text, \(kind)::text, \(reason)::text, \(since)::timestamptz,
                \(until)::timestamptz, \(most)::int)
            """
        ).scalar(as: Int64.self)
        struct Answer: Encodable {
            var retried: Int64
            /// Whether there may be others.
            var more: Bool
        }
        return Response(try JSONText(encoding: Answer(retried: count, more: count == most)))
    }

    private func state(of id: Int64) async throws -> String {
        let rows = try await pool.query("select state from koppeling.jobs where id = \(id)")
        guard let row = rows.first else { throw Problem.noSuchJob(id) }
        return try row.decode("state")
    }
}
