public import FoundationEssentials
public import Postgres

/// Limits and pauses, which all workers obey within a second, and running again what was rejected.
extension JobQueue {
    /// Limits how many jobs with a limit key run at once, and how many start in a period; what is nil is not limited.
    public func setLimit(
        _ limitKey: String, concurrency: Int? = nil, rate: (jobs: Int, per: Duration)? = nil
    ) async throws(PostgresError) {
        try await pool.query(
            """
            select koppeling.set_limit(\(limitKey)::text, \(concurrency.map { Int32(clamping: $0) })::int,
                \(rate.map { Int32(clamping: $0.jobs) })::int,
                make_interval(secs => \(rate.map { $0.per / .seconds(1) })::float8))
            """)
    }

    /// Takes the limit of a key away; false when there is none.
    @discardableResult
    public func removeLimit(_ limitKey: String) async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.remove_limit(\(limitKey)::text) as removed").only("removed")
    }

    /// Lets no job start to which all of these apply that are given; a key is a job's key, order key or limit key.
    ///
    /// - Returns: the number of the pause.
    @discardableResult
    public func pause(
        queue: String? = nil, kind: String? = nil, key: String? = nil, reason: String? = nil
    ) async throws(PostgresError) -> Int64 {
        try await pool.query(
            "select koppeling.pause(\(queue)::text, \(kind)::text, \(key)::text, \(reason)::text) as id"
        ).only("id")
    }

    /// Ends the pause of exactly these; false when there is none.
    @discardableResult
    public func resume(
        queue: String? = nil, kind: String? = nil, key: String? = nil
    ) async throws(PostgresError) -> Bool {
        try await pool.query(
            "select koppeling.resume(\(queue)::text, \(kind)::text, \(key)::text) as resumed"
        ).only("resumed")
    }

    /// Makes rejected jobs ready again that match all that is given, the oldest first, at most so many.
    ///
    /// - Returns: how many; there may be others when it is as many as were wanted at most.
    public func retryRejected(
        queue: String? = nil, kind: String? = nil, reason: String? = nil, since: Date? = nil, until: Date? = nil,
        atMost most: Int = 1_000
    ) async throws(PostgresError) -> Int64 {
        try await pool.query(
            """
            select koppeling.retry_rejected(\(queue)::text, \(kind)::text, \(reason)::text, \(since)::timestamptz,
                \(until)::timestamptz, \(Int32(clamping: most))::int) as count
            """
        ).only("count")
    }
}
