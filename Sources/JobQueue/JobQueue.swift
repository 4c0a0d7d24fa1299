import FoundationEssentials
public import Postgres

/// Puts jobs into the queue, and does with single ones what a person may want.
///
/// Enqueue on the connection of your own transaction, and the job exists exactly when what you wrote does.
public struct JobQueue: Sendable {
    /// The connections that it uses.
    public let pool: Pool

    /// The queue of the database that the pool leads to.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Enqueues a job in the connection's transaction.
    ///
    /// With `publicOnly` the kinds that are the system's own are refused, as is right for a job that comes from outside.
    /// Returns the job's number, or that of the waiting job that absorbed it.
    @discardableResult
    public func enqueue(
        _ job: NewJob, on connection: Connection, publicOnly: Bool = false
    ) async throws(PostgresError) -> Int64 {
        let rows = try await connection.query(
            """
            select koppeling.enqueue_internal(\(job.kind)::text, \(job.args)::jsonb, \(job.queue)::text,
                \(job.key)::text, \(job.keyMode.rawValue)::text, \(job.orderKey)::text, \(job.limitKey)::text,
                \(job.runAt)::timestamptz, \(Int32(clamping: job.priority))::int,
                \(Int32(clamping: job.maxAttempts))::int, \(publicOnly)::boolean) as id
            """)
        return try rows.only("id")
    }

    /// Enqueues a job in a transaction of its own.
    @discardableResult
    public func enqueue(_ job: NewJob, publicOnly: Bool = false) async throws -> Int64 {
        try await pool.withConnection { connection in
            try await enqueue(job, on: connection, publicOnly: publicOnly)
        }
    }

    /// Enqueues all of these jobs or none, in the connection's transaction.
    ///
    /// - Returns: for each job its number, or that of the job that absorbed it.
    @discardableResult
    public func enqueue(
        many jobs: [NewJob], on connection: Connection, publicOnly: Bool = false
    ) async throws(PostgresError) -> [Int64] {
        guard !jobs.isEmpty else { return [] }
        let rows = try await connection.query(
            """
            select koppeling.enqueue_rows(\(jobs.map(\.kind))::text[], \(jobs.map(\.args))::jsonb[],
                \(jobs.map(\.queue))::text[], \(jobs.map(\.key))::text[], \(jobs.map(\.keyMode.rawValue))::text[],
                \(jobs.map(\.orderKey))::text[], \(jobs.map(\.limitKey))::text[],
                \(jobs.map(\.runAt))::timestamptz[], \(jobs.map { Int32(clamping: $0.priority) })::int[],
                \(jobs.map { Int32(clamping: $0.maxAttempts) })::int[], \(publicOnly)::boolean) as ids
            """)
        return try rows.only("ids")
    }

    /// Enqueues all of these jobs or none, in a transaction of their own.
    @discardableResult
    public func enqueue(many jobs: [NewJob], publicOnly: Bool = false) async throws -> [Int64] {
        try await pool.withConnection { connection in
            try await enqueue(many: jobs, on: connection, publicOnly: publicOnly)
        }
    }

    /// Cancels a job: at once when it waits, within a second when it runs; false when there is none (any more).
    public func cancel(_ id: Int64, reason: String) async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.cancel_job(\(id)::bigint, \(reason)::text) as cancelled").only(
            "cancelled")
    }

    /// Makes a rejected or cancelled job ready again.
    ///
    /// - Returns: its number, or that of the job that waits with its key by now.
    public func retry(_ id: Int64) async throws(PostgresError) -> Int64 {
        try await pool.query("select koppeling.retry_job(\(id)::bigint) as id").only("id")
    }

    /// Lets parked jobs start, and says how many there were.
    public func release(parked ids: [Int64]) async throws(PostgresError) -> Int64 {
        try await pool.query("select koppeling.release_parked(\(ids)::bigint[]) as count").only("count")
    }
}

extension Rows {
    /// The column of the one row that a function call returns.
    func only<Value: PostgresDecodable>(_ column: String) throws(PostgresError) -> Value {
        guard let row = first else { throw PostgresError(.decoding, "the statement returned no row") }
        return try row.decode(column)
    }
}
