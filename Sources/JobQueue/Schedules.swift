public import FoundationEssentials
public import Postgres

extension JobQueue {
    /// Makes a schedule, or changes the one of its name, in the connection's transaction.
    ///
    /// A program may put its schedules whenever it starts: while cron and time zone stay the same, so does the next tick,
    /// and one that a person has paused stays paused.
    ///
    /// - Returns: its next tick; nil while it is paused.
    @discardableResult
    public func put(schedule: Schedule, on connection: Connection) async throws(PostgresError) -> Date? {
        let job = schedule.job
        return try await connection.query(
            """
            select koppeling.put_schedule(\(schedule.name)::text, \(schedule.cron)::text, \(job.kind)::text,
                \(job.args)::jsonb, \(schedule.timeZone)::text, \(job.queue)::text, \(job.key)::text,
                \(job.keyMode.rawValue)::text, \(job.orderKey)::text, \(job.limitKey)::text,
                \(Int32(clamping: job.priority))::int, \(Int32(clamping: job.maxAttempts))::int,
                \(schedule.missed.rawValue)::text) as next_at
            """
        ).only("next_at")
    }

    /// Makes a schedule, or changes the one of its name.
    ///
    /// - Returns: its next tick; nil while it is paused.
    @discardableResult
    public func put(schedule: Schedule) async throws -> Date? {
        try await pool.withConnection { connection in try await put(schedule: schedule, on: connection) }
    }

    /// Removes a schedule; false when there is none of that name.
    ///
    /// The jobs it has made stay.
    @discardableResult
    public func remove(schedule name: String) async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.remove_schedule(\(name)::text) as found").only("found")
    }

    /// Keeps a schedule from making jobs; false when there is none of that name.
    @discardableResult
    public func pause(schedule name: String) async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.pause_schedule(\(name)::text) as found").only("found")
    }

    /// Lets a paused schedule go on with the first tick that is still to come; false when there is none of that name.
    @discardableResult
    public func resume(schedule name: String) async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.resume_schedule(\(name)::text) as found").only("found")
    }

    /// Enqueues the job of a schedule now; its ticks stay as they are.
    ///
    /// - Returns: the job's number, or that of the waiting job that absorbed it.
    @discardableResult
    public func run(schedule name: String) async throws(PostgresError) -> Int64 {
        try await pool.query("select koppeling.run_schedule(\(name)::text) as id").only("id")
    }

    /// Schedules in the order of their names, beginning behind the given one.
    public func schedules(after name: String = "", limit: Int = 100) async throws(PostgresError) -> [ScheduleStatus] {
        try await schedules(named: nil, after: name, limit: limit)
    }

    /// The schedule of this name, if there is one.
    public func schedule(_ name: String) async throws(PostgresError) -> ScheduleStatus? {
        try await schedules(named: name, after: "", limit: 1).first
    }

    private func schedules(
        named name: String?, after last: String, limit: Int
    ) async throws(PostgresError) -> [ScheduleStatus] {
        let rows = try await pool.query(
            """
            select name, cron, time_zone, missed, next_at, last_at, last_job_id, error, kind, args, queue, key,
                key_mode, order_key, limit_key, priority, max_attempts
            from koppeling.schedules
            where name > \(last)::text and (\(name)::text is null or name = \(name)::text)
            order by name
            limit \(limit)::bigint
            """)
        var found: [ScheduleStatus] = []
        for row in rows { found.append(try ScheduleStatus(row)) }
        return found
    }

    /// The next moments that a cron expression names in a time zone, at most 1000.
    public func nextTicks(
        of cron: String, timeZone: String = "UTC", after: Date? = nil, count: Int = 10
    ) async throws(PostgresError) -> [Date] {
        let rows = try await pool.query(
            """
            select tick from koppeling.next_ticks(\(cron)::text, \(timeZone)::text,
                coalesce(\(after)::timestamptz, koppeling.now()), \(Int32(clamping: count))::int) as tick
            """)
        var ticks: [Date] = []
        for row in rows { ticks.append(try row.decode("tick")) }
        return ticks
    }
}
