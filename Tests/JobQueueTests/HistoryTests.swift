import FoundationEssentials
import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct HistoryTests {
    let bench = Bench()
    /// The partitions that the jobs of the history lie in.
    let places: Query =
        "select c.relname::text from koppeling.job_history h join pg_class c on c.oid = h.tableoid order by id"

    @Test func `a finished job lies in the partition of its outcome and day`() async throws {
        let stranger = try await bench.stranger()
        for outcome in ["done", "rejected", "cancelled"] {
            try await bench.queue.enqueue(NewJob(kind: "echo"))
            try await stranger.complete(try #require(try await stranger.claim().first), outcome)
        }
        let today = try await bench.today()
        #expect(
            try await bench.values(places)
                == ["done", "rejected", "cancelled"].map { "job_\($0)_\(today)" })
    }

    @Test func `a day that nobody has made is caught, and its rows move when it is made`() async throws {
        try await bench.jump(.seconds(10 * 86_400))
        let stranger = try await bench.stranger()
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        try await stranger.complete(try #require(try await stranger.claim().first), "retry", delay: 0)
        try await stranger.complete(try #require(try await stranger.claim().first))
        #expect(try await bench.value(places) == "job_done_rest")
        #expect(try await bench.value("select koppeling.make_history_partitions(0)", as: Int64?.self) == 4)
        #expect(try await bench.value(places) == "job_done_\(try await bench.today())")
        #expect(try await bench.state(id) == "done")
        #expect(
            try await bench.values("select outcome from koppeling.job_attempts order by attempt")
                == ["retried", "done"])
    }

    @Test func `a day of which too many rows were caught is not made, and they are deleted in their time`() async throws
    {
        try await bench.jump(.seconds(10 * 86_400))
        try await bench.finish(10_001)
        #expect(try await bench.value("select koppeling.make_history_partitions(0) is null", as: Bool.self))
        #expect(try await bench.value("select count(*) from koppeling.job_done_rest", as: Int64.self) == 10_001)
        #expect(try await bench.value("select koppeling.prune_history(4000)", as: Int64.self) == 0)
        try await bench.jump(.seconds(18 * 86_400))
        var rounds: [Int64] = []
        for _ in 0..<4 { rounds.append(try await bench.value("select koppeling.prune_history(4000)")) }
        #expect(rounds == [4000, 4000, 2001, 0])
    }

    @Test func `many may make the days at once`() async throws {
        try await bench.jump(.seconds(50 * 86_400))
        let pool = Pool(bench.settings, maximum: 8)
        let made = try await withThrowingTaskGroup(of: Int64?.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    let rows = try await pool.query("select koppeling.make_history_partitions() as made")
                    return try rows.scalar(as: Int64?.self)
                }
            }
            return try await group.reduce(into: 0) { $0 += $1 ?? 0 }
        }
        #expect(made == 16)
        #expect(
            try await bench.value(
                "select count(*) from koppeling.history_partitions() where starts_at > koppeling.now() - interval '1 day'",
                as: Int64.self) == 16)
    }

    @Test func `a worker makes the days to come and drops those that are over`() async throws {
        let names: Query = "select partition from koppeling.history_partitions() order by parent, starts_at"
        let before = try await bench.values(names, as: String.self)
        // Done jobs are kept for a week, so the first two of their days go and the third stays.
        let over = Array(before.filter { $0.contains("done") }.prefix(2))
        try await bench.jump(.seconds(9 * 86_400))
        let today = try await bench.today()
        try await bench.working([Does.always(.done())]) { _ in
            try await eventually(within: .seconds(30)) {
                let now = try await bench.values(names, as: String.self)
                return now.contains("job_done_\(today)") && !now.contains { over.contains($0) }
            }
        }
        let after = Set(try await bench.values(names, as: String.self))
        #expect(before.filter { !after.contains($0) } == over)
    }

    @Test func `jobs are kept as long as the retention of their outcome says, and attempts the longest`() async throws {
        try await bench.pool.query("select koppeling.set_retention('cancelled', '100 days')")
        func expired(after days: Int) async throws -> Set<Substring> {
            try await bench.jump(.seconds(86_400 * days))
            let names = try await bench.values(
                "select partition from koppeling.expired_history_partitions()", as: String.self)
            return Set(names.map { $0.dropLast(9) })
        }
        #expect(try await expired(after: 6) == [])
        #expect(try await expired(after: 9) == ["job_done"])
        #expect(try await expired(after: 92) == ["job_done", "job_rejected"])
        #expect(try await expired(after: 102) == ["job_done", "job_rejected", "job_cancelled", "job_attempt"])
    }

    @Test(arguments: [
        ("lost", "7 days", #"outcome: must be done, rejected or cancelled, not "lost""#),
        ("done", "0 days", #"keep: must be longer than nothing, such as 7 days, not "00:00:00""#),
    ])
    func `what is wrong with a retention is said`(outcome: String, keep: String, message: String) async throws {
        let error = await #expect(throws: PostgresError.self) {
            try await bench.pool.query("select koppeling.set_retention(\(outcome)::text, \(keep)::text::interval)")
        }
        #expect(error?.sqlState == "22023")
        #expect(error?.message == message)
    }

    @Test func `a long reader keeps a day from being dropped, and nobody from working`() async throws {
        try await bench.makeOldDay()
        let reader = try await Connection.connect(bench.settings)
        try await reader.script("begin; select * from koppeling.jobs; select * from koppeling.job_attempts")
        let handler = Does { jobs, _ in jobs.all(jobs[0].attempt == 1 ? .retry(after: .zero, error: "once") : .done()) }
        let isOver = Locked(false)
        let refused = try await bench.working([handler], batch: 5) { _ in
            async let tries = bench.drop(while: { !isOver.withLock { $0 } })
            for _ in 0..<20 {
                let start = ContinuousClock.now
                let ids = try await bench.queue.enqueue(many: (0..<10).map { _ in NewJob(kind: "echo") })
                try await eventually {
                    try await bench.value(
                        "select count(*) from koppeling.job where id = any (\(ids)::bigint[])", as: Int64.self) == 0
                }
                // Each drop is in the way of completions for at most a tenth of a second.
                #expect(ContinuousClock.now - start < .seconds(5))
            }
            isOver.withLock { $0 = true }
            return try await tries
        }
        #expect(refused > 0)
        #expect(
            try await bench.value("select count(*) from koppeling.expired_history_partitions()", as: Int64.self) == 1)
        try await reader.script("commit")
        #expect(try await bench.drop(while: { true }) == 0)
        #expect(
            try await bench.value("select count(*) from koppeling.expired_history_partitions()", as: Int64.self) == 0)
    }

    @Test func `a day that is still kept cannot be dropped`() async throws {
        let today = "job_done_\(try await bench.today())"
        for name in [today, "job_done_rest", "job_done", "worker"] {
            try await bench.pool.query("select koppeling.drop_history_partition(\(name)::text)")
        }
        #expect(
            try await bench.value("select to_regclass('koppeling.' || \(today)::text) is not null", as: Bool.self))
        #expect(try await bench.value("select to_regclass('koppeling.worker') is not null", as: Bool.self))
    }

    @Test func `an ended worker is forgotten when the history begins after its end`() async throws {
        let old = try await bench.stranger("old")
        let young = try await bench.stranger("young")
        _ = try await bench.stranger("alive")
        try await bench.pool.execute(
            "update koppeling.worker set started_at = now() - interval '99 days', heartbeat_at = now() - interval '99 days'"
        )
        try await bench.pool.execute(
            """
            update koppeling.worker set ending = 'stopped', ended_at = koppeling.now() - case
                when id = \(old.worker)::bigint then interval '4 days' else interval '1 day' end
            where id in (\(old.worker)::bigint, \(young.worker)::bigint)
            """)
        let names: Query = "select name from koppeling.worker order by id"
        #expect(try await bench.value("select koppeling.prune_history()", as: Int64.self) == 1)
        #expect(try await bench.values(names) == ["young", "alive"])
        // A day that is still there may name it.
        try await bench.pool.execute(
            "update koppeling.worker set ended_at = koppeling.now() - interval '20 days' where id = \(young.worker)::bigint"
        )
        try await bench.makeOldDay()
        #expect(try await bench.value("select koppeling.prune_history()", as: Int64.self) == 0)
        #expect(try await bench.drop(while: { true }) == 0)
        #expect(try await bench.value("select koppeling.prune_history()", as: Int64.self) == 1)
        #expect(try await bench.values(names) == ["alive"])
    }

    @Test func `every column of the views is explained`() async throws {
        let silent = try await bench.values(
            """
            select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'koppeling'::regnamespace and a.attnum > 0
                and c.relname in ('jobs', 'job_attempts', 'queue_status', 'workers', 'job_retention')
                and col_description(c.oid, a.attnum) is null
            """, as: String.self)
        #expect(silent == [])
    }

    @Test func `the newest jobs are those of the view with the largest numbers`() async throws {
        var random = Seed()
        let stranger = try await bench.stranger()
        for _ in 0..<10 {
            // Numbers that are missing between them, as rolled back enqueues leave them.
            try await bench.pool.execute(
                "select setval('koppeling.job_id_seq', nextval('koppeling.job_id_seq') + 1000)")
            try await bench.queue.enqueue(many: (0..<7).map { _ in NewJob(kind: "echo") })
            for job in try await stranger.claim() {
                let outcome = ["done", "rejected", "cancelled", "snooze"].randomElement(using: &random)!
                try await stranger.complete(job, outcome, delay: outcome == "snooze" ? 3600 : nil)
            }
        }
        for state in [nil, "done", "scheduled", "rejected", "running"] {
            for before in [nil, Int64.random(in: 1...20_000, using: &random)] {
                let wanted = try await bench.values(
                    """
                    select id from koppeling.jobs
                    where (\(state)::text is null or state = \(state)::text)
                        and (\(before)::bigint is null or id < \(before)::bigint)
                    order by id desc limit 9
                    """, as: Int64.self)
                #expect(
                    try await bench.values(
                        "select id from koppeling.newest_jobs(9, state => \(state)::text, before => \(before)::bigint)")
                        == wanted)
            }
        }
    }
}

extension Bench {
    /// Today as the names of partitions have it.
    fileprivate func today() async throws -> String {
        try await value("select to_char(koppeling.now() at time zone 'UTC', 'YYYYMMDD')")
    }

    /// A day of done jobs that is not kept any more, with one in it.
    fileprivate func makeOldDay() async throws {
        try await pool.query(
            """
            select koppeling.make_history_partition('job_done', 'finished_at',
                (koppeling.now() at time zone 'UTC')::date - 20)
            """)
        try await finish(1, daysAgo: 20)
    }

    /// Writes done jobs into the history.
    fileprivate func finish(_ count: Int32, daysAgo: Int32 = 0) async throws {
        try await pool.execute(
            """
            insert into koppeling.job_history (id, enqueued_at, run_at, started_at, finished_at, priority, attempt,
                max_attempts, claim, snoozes, outcome, queue, kind, key_mode, args)
            select -i, t, t, t, t, 0, 1, 20, 1, 0, 'done', 'default', 'echo', 'keep', '{}'
            from (select koppeling.now() - make_interval(days => \(daysAgo)::int) as t offset 0) t
            cross join generate_series(1, \(count)::int) i
            """)
    }

    /// Tries to drop what is not kept any more until it is gone, and says how often that was refused.
    fileprivate func drop(while isWanted: () -> Bool) async throws -> Int {
        var refused = 0
        while isWanted() {
            let isGone = try await values(
                """
                select koppeling.drop_history_partition(e.partition)
                from (select partition from koppeling.expired_history_partitions() offset 0) e
                """, as: Bool.self)
            if !isGone.contains(false) { break }
            refused += 1
        }
        return refused
    }
}
