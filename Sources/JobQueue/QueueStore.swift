import FoundationEssentials
import Postgres

/// The statements that a worker sends.
struct QueueStore: Sendable {
    let pool: Pool

    /// How a consumer stands: whether there is work for it, and how long until the next job that has a time.
    struct Look: Sendable {
        var consumer: Int64
        var isDue: Bool
        /// Whether some is to be run alone.
        var isSuspicious: Bool
        var wait: Duration?
    }

    func register(name: String, host: String, processID: Int32, version: String) async throws(PostgresError) -> Int64 {
        try await pool.query(
            """
            select koppeling.register_worker(\(name)::text, \(host)::text, \(processID)::int, \(version)::text) as id
            """
        ).only("id")
    }

    /// Nil when the worker is not registered any more.
    func registerConsumer(
        worker: Int64, queue: String, kinds: [String]
    ) async throws(PostgresError) -> Int64? {
        try await pool.query(
            "select koppeling.register_consumer(\(worker)::bigint, \(queue)::text, \(kinds)::text[]) as id"
        ).only("id")
    }

    func forgetConsumer(_ consumer: Int64) async throws(PostgresError) {
        try await pool.execute("delete from koppeling.consumer where id = \(consumer)::bigint")
    }

    /// What a claim brought; `isCut` when it found nothing so far and there is more to look at.
    func claim(
        worker: Int64, consumer: Int64, queue: String, limit: Int, marks: Marks.Columns, suspects: Suspects? = nil
    ) async throws(PostgresError) -> (jobs: [Job], isCut: Bool) {
        let rows = try await pool.query(
            """
            select \(unsafe: Job.columns)
            from koppeling.claim_jobs(\(worker)::bigint, \(consumer)::bigint, \(Int32(clamping: limit))::int,
                \(marks.kinds)::text[], \(marks.priorities)::int[], \(marks.times)::timestamptz[],
                \(suspects != nil)::boolean, \(suspects == .alone)::boolean)
            """)
        var jobs: [Job] = []
        jobs.reserveCapacity(rows.count)
        for row in rows {
            guard try row.decode(0, as: Int64?.self) != nil else { return (jobs, true) }
            jobs.append(try Job(row, queue: queue))
        }
        return (jobs, false)
    }

    /// How jobs are run that ran when their worker died.
    enum Suspects: Sendable {
        case alone
        /// The worker has too much else under way that does not end.
        case inCompany
    }

    func look(
        worker: Int64, queues: [String], marks: Marks.Columns
    ) async throws(PostgresError) -> [Look] {
        let rows = try await pool.query(
            """
            select consumer_id, is_due, is_suspicious, extract(epoch from next_at - koppeling.now())::float8 as wait
            from koppeling.look_for_work(\(worker)::bigint, \(queues)::text[], \(marks.kinds)::text[],
                \(marks.priorities)::int[], \(marks.times)::timestamptz[])
            """)
        var looks: [Look] = []
        for row in rows {
            looks.append(
                Look(
                    consumer: try row.decode("consumer_id"), isDue: try row.decode("is_due"),
                    isSuspicious: try row.decode("is_suspicious"),
                    wait: try row.decode("wait", as: Double?.self).map { .seconds(min(max(0, $0), 86_400)) }))
        }
        return looks
    }

    /// The jobs whose claim still held.
    func complete(
        _ completion: Completion, worker: Int64, on connection: Connection
    ) async throws(PostgresError) -> Set<Int64> {
        guard !completion.isEmpty else { return [] }
        let ids: [Int64] = try await connection.query(
            """
            select koppeling.complete_jobs(\(worker)::bigint, \(completion.ids)::bigint[], \(completion.claims)::int[],
                \(completion.outcomes)::text[], \(completion.notes)::text[], \(completion.delays)::float8[]) as ids
            """
        ).only("ids")
        return Set(ids)
    }

    func complete(_ completion: Completion, worker: Int64) async throws -> Set<Int64> {
        try await pool.withConnection { connection in try await complete(completion, worker: worker, on: connection) }
    }

    func held(_ jobs: [Job], worker: Int64) async throws(PostgresError) -> Set<Int64> {
        let rows = try await pool.query(
            """
            select j.id
            from unnest(\(jobs.map(\.id))::bigint[], \(jobs.map(\.claim))::int[]) as g (id, claim)
            join koppeling.job j on j.id = g.id and j.claim = g.claim
            where j.worker_id = \(worker)::bigint and j.state = 'running'
            """)
        var ids: Set<Int64> = []
        for row in rows { ids.insert(try row.decode("id")) }
        return ids
    }

    /// Gives back whatever runs under a consumer's name.
    func abandon(worker: Int64, consumer: Int64, reason: String) async throws(PostgresError) {
        try await pool.query(
            """
            select koppeling.abandon_jobs(\(worker)::bigint, \(consumer)::bigint, 'released', \(reason)::text)
            """)
    }

    func stop(worker: Int64) async throws(PostgresError) -> Int64 {
        try await pool.query("select koppeling.stop_worker(\(worker)::bigint) as released").only("released")
    }

    /// How a worker stands after a sign of life.
    struct Beat: Sendable {
        var isAlive: Bool
        var rescued: Int64
        /// Consumers for which there are jobs that are to be run alone.
        var suspicious: [Int64]
    }

    func beat(worker: Int64, deadAfter: Duration) async throws(PostgresError) -> Beat {
        let rows = try await pool.query(
            """
            select is_alive, rescued, coalesce(suspicious, '{}') as suspicious
            from koppeling.beat(\(worker)::bigint, make_interval(secs => \(deadAfter / .seconds(1))::float8))
            """)
        return Beat(
            isAlive: try rows.only("is_alive"), rescued: try rows.only("rescued"),
            suspicious: try rows.only("suspicious"))
    }

    /// Jobs of the worker that somebody wants cancelled.
    func cancelled(worker: Int64) async throws(PostgresError) -> [Int64] {
        let rows = try await pool.query(
            "select job_id from koppeling.cancelled_jobs(\(worker)::bigint)")
        var ids: [Int64] = []
        for row in rows { ids.append(try row.decode("job_id")) }
        return ids
    }

    /// Opens gates that were left shut although nothing stands in the way.
    func openStaleGates() async throws(PostgresError) -> Int64 {
        try await pool.query("select koppeling.open_stale_gates() as opened").only("opened")
    }
}

extension PostgresError {
    /// The consumer or its worker is not registered any more.
    var isNotRegistered: Bool { sqlState == "KQ001" }

    /// Two claims met over one order key: the next look finds it taken.
    var isOrderConflict: Bool { sqlState == "23505" && constraint == "job_order_running" }
}
