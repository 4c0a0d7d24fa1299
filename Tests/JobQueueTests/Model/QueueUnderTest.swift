import Postgres
import TestSupport

/// The functions of the database as the model knows them: the one place that names them.
struct QueueUnderTest {
    let connection: Connection

    /// Prepares the test's database: kinds with a short wait, and a clock that the test sets.
    static func connect() async throws -> QueueUnderTest {
        let connection = try await Connection.connect(TestDatabase.current.settings)
        try await connection.script(
            """
            insert into koppeling.job_kind (kind, retry_base, retry_cap)
            values ('one', '4 seconds', '20 seconds'), ('two', '4 seconds', '20 seconds');
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return timestamptz '2030-01-01 00:00:00+00' + current_setting('test.seconds')::int * interval '1 second';
            """)
        return QueueUnderTest(connection: connection)
    }

    private static let tables = [
        "job", "job_history", "job_attempt", "worker", "consumer", "job_limit", "job_pause", "job_cancellation",
    ]

    /// Forgets everything.
    ///
    /// Now and then the tables begin anew, so that what was deleted is not in the way.
    func empty(thoroughly: Bool) async throws {
        let tables = Self.tables.map { "koppeling.\($0)" }
        try await connection.script(
            thoroughly
                ? "truncate \(tables.joined(separator: ", "))"
                : tables.map { "delete from \($0);" }.joined(separator: "\n"))
        // The waits of retries are left to chance: to the same one when the sequence is lived again.
        try await connection.query("select setseed(0.5)")
        try await setClock(0)
    }

    func setClock(_ seconds: Int) async throws {
        try await connection.query("select set_config('test.seconds', \(String(seconds))::text, false)")
    }

    // MARK: Enqueueing

    /// Nil when it was refused because of what is in it.
    func enqueue(_ entry: QueueModel.Entry) async throws -> [Int64]? {
        try await refusable {
            [
                try await scalar(
                    """
                    select koppeling.enqueue_internal(\(entry.kind)::text, \(args(entry))::jsonb, \(entry.queue)::text,
                        \(entry.key)::text, \(entry.mode)::text, \(entry.orderKey)::text, \(entry.limitKey)::text,
                        coalesce(koppeling.now() + make_interval(secs => \(entry.ahead.map(Double.init))::float8),
                            'infinity'),
                        \(Int32(entry.priority))::int, \(Int32(entry.maxAttempts))::int)
                    """)
            ]
        }
    }

    func enqueue(_ entries: [QueueModel.Entry]) async throws -> [Int64]? {
        try await refusable {
            try await scalar(
                """
                select koppeling.enqueue_internal_many((
                    select coalesce(jsonb_agg(jsonb_build_object('kind', kind, 'args', args, 'queue', queue, 'key', key,
                        'key_mode', mode, 'order_key', order_key, 'limit_key', limit_key, 'run_at',
                        coalesce(koppeling.now() + make_interval(secs => ahead), 'infinity'), 'priority', priority,
                        'max_attempts', max_attempts) order by n), '[]')
                    from unnest(\(entries.map(args))::jsonb[], \(entries.map(\.kind))::text[],
                        \(entries.map(\.queue))::text[], \(entries.map(\.key))::text[], \(entries.map(\.mode))::text[],
                        \(entries.map(\.orderKey))::text[], \(entries.map(\.limitKey))::text[],
                        \(entries.map { $0.ahead.map(Double.init) })::float8[],
                        \(entries.map { Int32($0.priority) })::int[], \(entries.map { Int32($0.maxAttempts) })::int[])
                        with ordinality as e (args, kind, queue, key, mode, order_key, limit_key, ahead, priority,
                            max_attempts, n)))
                """)
        }
    }

    private func args(_ entry: QueueModel.Entry) -> JSONText { JSONText(QueueModel.text(entry.args)) }

    private func refusable<Value>(_ body: () async throws -> Value) async throws -> Value? {
        do {
            return try await body()
        } catch let error as PostgresError where error.sqlState == "22023" || error.sqlState == "KQ001" {
            return nil
        }
    }

    // MARK: Workers

    func register(queue: String, kinds: [String], as name: String) async throws -> (worker: Int64, consumer: Int64) {
        let worker: Int64 = try await scalar("select koppeling.register_worker(\(name)::text, 'host', 1, '1')")
        let consumer: Int64 = try await scalar(
            "select koppeling.register_consumer(\(worker)::bigint, \(queue)::text, \(kinds)::text[])")
        return (worker, consumer)
    }

    /// Nil when the worker is not registered any more.
    func claim(_ worker: QueueModel.Worker, limit: Int, alone: Bool) async throws -> [QueueModel.Claimed]? {
        try await refusable {
            let rows = try await connection.query(
                """
                select id, claim, attempt, args::text as args
                from koppeling.claim_jobs(\(worker.id)::bigint, \(worker.consumer)::bigint, \(Int32(limit))::int,
                    p_suspects => \(alone)::boolean, p_alone => \(alone)::boolean)
                """)
            // A row of nulls says that nothing was found so far.
            if try rows.count == 1 && rows[0].decode("id", as: Int64?.self) == nil {
                return try await claim(worker, limit: limit, alone: alone) ?? []
            }
            var claimed: [QueueModel.Claimed] = []
            for row in rows {
                claimed.append(
                    QueueModel.Claimed(
                        id: try row.decode("id"), claim: Int(try row.decode("claim", as: Int32.self)),
                        attempt: Int(try row.decode("attempt", as: Int32.self)), args: try row.decode("args")))
            }
            return claimed
        }
    }

    func complete(
        _ worker: QueueModel.Worker, _ endings: [(job: Int64, claim: Int, ending: QueueModel.Ending)]
    ) async throws -> Set<Int64> {
        let ids: [Int64] = try await scalar(
            """
            select koppeling.complete_jobs(\(worker.id)::bigint, \(endings.map(\.job))::bigint[],
                \(endings.map { Int32($0.claim) })::int[], \(endings.map(\.ending.outcome))::text[],
                \(endings.map { $0.ending.outcome == "done" ? nil : "because" })::text[],
                \(endings.map { $0.ending.delay.map(Double.init) })::float8[])
            """)
        return Set(ids)
    }

    /// When each of these jobs may run, in microseconds.
    func runAt(_ ids: [Int64]) async throws -> [Int64: Int] {
        let rows = try await connection.query(
            """
            select id, ((extract(epoch from run_at) - extract(epoch from timestamptz '2030-01-01 00:00:00+00'))
                * 1000000)::bigint as at
            from koppeling.job where id = any (\(ids)::bigint[]) and run_at < 'infinity'
            """)
        var moments: [Int64: Int] = [:]
        for row in rows { moments[try row.decode("id")] = Int(try row.decode("at", as: Int64.self)) }
        return moments
    }

    func abandon(_ worker: QueueModel.Worker) async throws -> Int {
        try await count(
            """
            select koppeling.abandon_jobs(\(worker.id)::bigint, \(worker.consumer)::bigint, 'released', 'given back')
            """)
    }

    func stop(_ worker: QueueModel.Worker) async throws -> Int {
        try await count("select koppeling.stop_worker(\(worker.id)::bigint)")
    }

    func silence(_ worker: QueueModel.Worker) async throws {
        try await connection.execute(
            """
            update koppeling.worker set heartbeat_at = koppeling.now() - interval '1 minute'
            where id = \(worker.id)::bigint
            """)
    }

    func beat(_ worker: QueueModel.Worker) async throws -> (isAlive: Bool, rescued: Int) {
        let rows = try await connection.query(
            "select is_alive, rescued from koppeling.beat(\(worker.id)::bigint, '15 seconds')")
        guard let row = rows.first else { throw QueueModel.Disagreement("a beat has no answer") }
        return (try row.decode("is_alive"), Int(try row.decode("rescued", as: Int64.self)))
    }

    // MARK: What a person does

    func cancel(_ job: Int64) async throws -> Bool {
        try await scalar("select koppeling.cancel_job(\(job)::bigint, 'not wanted')")
    }

    func release(_ jobs: [Int64]) async throws -> Int {
        try await count("select koppeling.release_parked(\(jobs)::bigint[])")
    }

    func retry(_ job: Int64) async throws -> Int64? {
        try await refusable { try await scalar("select koppeling.retry_job(\(job)::bigint)") }
    }

    func retryRejected(queue: String?, most: Int) async throws -> Int {
        try await count(
            "select koppeling.retry_rejected(queue => \(queue)::text, max_jobs => \(Int32(most))::int)")
    }

    func setLimit(_ key: String, concurrency: Int?, rate: Int?, period: Int?) async throws {
        try await connection.query(
            """
            select koppeling.set_limit(\(key)::text, \(concurrency.map(Int32.init))::int, \(rate.map(Int32.init))::int,
                make_interval(secs => \(period.map(Double.init))::float8))
            """)
    }

    func removeLimit(_ key: String) async throws -> Bool {
        try await scalar("select koppeling.remove_limit(\(key)::text)")
    }

    func pause(_ pause: QueueModel.Pause) async throws {
        try await connection.query(
            "select koppeling.pause(\(pause.queue)::text, \(pause.kind)::text, \(pause.key)::text)")
    }

    func resume(_ pause: QueueModel.Pause) async throws -> Bool {
        try await scalar("select koppeling.resume(\(pause.queue)::text, \(pause.kind)::text, \(pause.key)::text)")
    }

    func openStaleGates() async throws {
        try await connection.query("select koppeling.open_stale_gates()")
    }

    // MARK: The state

    /// All there is, a line each, in the words of `QueueModel.lines`.
    func lines() async throws -> [String] {
        let text: String = try await scalar(
            """
            select coalesce(string_agg(line, E'\\n'), '') from (
                select concat_ws(' ', 'job', j.id,
                    case when j.state in ('ready', 'scheduled', 'parked', 'blocked') then 'waiting' else j.state end,
                    j.queue, j.kind, j.key, j.order_key, j.limit_key, j.priority, j.attempt || '/' || j.max_attempts,
                    j.snoozes, case when j.run_at = 'infinity' then 'parked' else ((extract(epoch from j.run_at)
                        - extract(epoch from timestamptz '2030-01-01 00:00:00+00')) * 1000000)::bigint::text end,
                    j.args, case when j.state = 'cancelled' then 'into ' || substring(j.reason from '^folded into job (\\d+)') end,
                    (select string_agg(a.outcome, ',' order by a.outcome) from koppeling.job_attempts a
                     where a.job_id = j.id and a.outcome <> 'running')) as line
                from koppeling.jobs j
                union all
                select concat_ws(' ', 'worker', w.id, coalesce(w.ending, 'alive')) from koppeling.worker w) l
            """)
        return text.split(separator: "\n").map(String.init).sorted()
    }

    /// Whether the worker's waiting consumer would be told of work; nil when it does not wait.
    func isToldOfWork(_ worker: QueueModel.Worker) async throws -> Bool? {
        try await connection.query("select is_due from koppeling.look_for_work(\(worker.id)::bigint)").first?
            .decode("is_due")
    }

    private func scalar<Value: PostgresDecodable>(_ query: Query) async throws -> Value {
        guard let row = try await connection.query(query).first else { throw QueueModel.Disagreement("no answer") }
        return try row.decode(0)
    }

    private func count(_ query: Query) async throws -> Int {
        Int(try await scalar(query) as Int64)
    }
}
