import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct QueueCheckTests {
    let bench = Bench()

    @Test func `a queue that works violates nothing`() async throws {
        let handler = Does { jobs, _ in
            var outcomes: [Int64: Outcome] = [:]
            for job in jobs {
                outcomes[job.id] =
                    switch job.claim {
                    case 1: .retry(after: .zero, error: "once")
                    case 2: .snooze(.zero)
                    default: [.done(), .rejected(reason: "no"), .cancelled(reason: "no")][Int(job.id % 3)]
                    }
            }
            return outcomes
        }
        let zombie = try await bench.stranger("zombie")
        try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        _ = try await zombie.claim()
        try await bench.working([handler], batch: 7, concurrentBatches: 2) { _ in
            for number in 0..<20 {
                try await bench.queue.enqueue(
                    many: (0..<10).map { NewJob(kind: "echo", key: "\($0)", orderKey: "\(number)") })
                #expect(try await violated() == [:])
            }
            try await bench.jump(.seconds(50))
            try await eventually("all jobs", within: .seconds(30)) {
                try await bench.value("select count(*) from koppeling.job", as: Int64.self) == 0
            }
            #expect(try await violated() == [:])
        }
        for id in try await bench.values("select id from koppeling.jobs where state = 'rejected'", as: Int64.self) {
            _ = try await bench.queue.retry(id)
        }
        #expect(try await violated() == [:])
    }

    @Test func `a job that is unfinished and finished is found`() async throws {
        let id = try await finishedJob()
        try await bench.pool.execute("insert into koppeling.job (id, kind) values (\(id)::bigint, 'echo')")
        #expect(try await violated()["in_one_place"] == "job \(id) is unfinished, and finished as well")
    }

    @Test func `a job that is finished twice is found`() async throws {
        let id = try await finishedJob()
        try await bench.pool.execute("insert into koppeling.job_history select * from koppeling.job_history")
        #expect(try await violated() == ["finished_once": "job \(id) is in the history more than once"])
    }

    @Test func `an attempt that is not in the books is found`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let stranger = try await bench.stranger()
        try await stranger.complete(try #require(try await stranger.claim().first), "retry", delay: 0)
        try await stranger.complete(try #require(try await stranger.claim().first))
        #expect(try await violated() == [:])
        try await bench.pool.execute("delete from koppeling.job_attempt")
        #expect(
            try await violated() == ["claims_accounted_for": "job \(id) was handed out 2 times and has 1 attempts"])
        // One that was never handed out, but has an attempt.
        try await bench.pool.execute("truncate koppeling.job_history")
        let waiting = try await bench.queue.enqueue(NewJob(kind: "echo"))
        try await bench.pool.execute(
            """
            insert into koppeling.job_attempt (job_id, claim, attempt, worker_id, started_at, ended_at, outcome)
            values (\(waiting)::bigint, 1, 1, 1, now(), now(), 'retried')
            """)
        #expect(
            try await violated()
                == ["claims_accounted_for": "job \(waiting) was handed out 0 times and has 1 attempts"])
    }

    @Test(arguments: [
        "delete from koppeling.worker", "update koppeling.worker set ended_at = koppeling.now(), ending = 'died'",
        "select",
    ])
    func `a job that runs in the name of a dead worker is found after a minute`(death: String) async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let stranger = try await bench.stranger()
        _ = try await stranger.claim()
        try await bench.pool.script(death + "; delete from koppeling.consumer")
        #expect(try await violated() == [:])
        try await bench.jump(.seconds(61))
        #expect(
            try await violated()
                == ["running_has_a_live_worker": "job \(id) runs in the name of worker \(stranger.worker)"])
    }

    @Test func `two running jobs of one order key are found`() async throws {
        try await bench.queue.enqueue(many: (0..<2).map { _ in NewJob(kind: "echo", orderKey: "o") })
        try await bench.pool.script("drop index koppeling.job_order_running")
        let stranger = try await bench.stranger()
        try await bench.pool.execute(
            """
            update koppeling.job set state = 'running', claim = 1, attempt = 1, started_at = koppeling.now(),
                worker_id = \(stranger.worker)::bigint, consumer_id = \(stranger.consumer)::bigint
            """)
        #expect(try await violated() == ["one_running_per_order_key": "order key o of queue default"])
    }

    @Test func `a due job that nobody takes although somebody waits is found after a minute`() async throws {
        let stranger = try await bench.stranger()
        try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        _ = try await stranger.claim()
        _ = try await stranger.claim()
        #expect(try await bench.value("select waiting from koppeling.consumer", as: Bool.self))
        let behind = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        func later() async throws -> [String: String] {
            try await bench.jump(.seconds(61))
            try await bench.pool.execute("update koppeling.worker set heartbeat_at = koppeling.now()")
            return try await violated()
        }
        #expect(try await later() == [:], "one that waits for its turn is no violation")
        let due = try await bench.queue.enqueue(NewJob(kind: "echo", runAt: Date(timeIntervalSinceReferenceDate: 0)))
        #expect(try await later()["due_jobs_are_taken"]?.hasPrefix("job \(due) is due since") == true)
        #expect(behind < due)
    }

    @Test func `more running jobs than their limit allows are found, but for those from before it`() async throws {
        try await bench.queue.enqueue(many: (0..<2).map { _ in NewJob(kind: "echo", limitKey: "l") })
        _ = try await bench.stranger().claim()
        try await bench.pool.query("select koppeling.set_limit('l', 1)")
        #expect(try await violated() == [:])
        try await bench.pool.execute("update koppeling.job set started_at = koppeling.now()")
        #expect(try await violated() == ["limits_are_kept": "2 jobs run under limit l, which allows 1"])
    }

    @Test func `a blocked job that nothing holds is found`() async throws {
        let stranger = try await bench.stranger()
        try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        let behind = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        try await bench.pool.query("select koppeling.set_limit('l', 1)")
        try await bench.queue.enqueue(NewJob(kind: "echo", limitKey: "l"))
        let over = try await bench.queue.enqueue(NewJob(kind: "echo", limitKey: "l"))
        try await bench.pool.query("select koppeling.pause(key => 'p')")
        let paused = try await bench.queue.enqueue(NewJob(kind: "echo", limitKey: "p"))
        #expect(try await stranger.claim().count == 2)
        #expect(
            try await bench.values("select id from koppeling.job where state = 'blocked' order by id")
                == [behind, over, paused])
        #expect(try await violated() == [:])
        // As if they had gone without opening the gates.
        let holders = [
            ("delete from koppeling.job where order_key = 'o' and state = 'running'", behind, "its order"),
            ("delete from koppeling.job where limit_key = 'l' and state = 'running'", over, "its limit"),
            (
                "alter table koppeling.job_pause disable trigger user; delete from koppeling.job_pause", paused,
                "a pause"
            ),
        ]
        for (end, id, by) in holders {
            try await bench.pool.script(end)
            #expect(
                try await violated() == ["blocked_jobs_are_held": "job \(id) is blocked by \(by), but nothing holds it"]
            )
            try await bench.pool.execute("delete from koppeling.job where id = \(id)::bigint")
        }
    }

    @Test func `a schedule whose tick has passed is found after a minute`() async throws {
        try await bench.pool.query("select koppeling.put_schedule('often', '* * * * *', 'echo')")
        try await bench.jump(.seconds(59))
        #expect(try await violated() == [:])
        try await bench.jump(.seconds(121))
        #expect(try await violated()["schedules_are_on_time"]?.hasPrefix("schedule often was due at") == true)
    }

    @Test func `a consumer without a worker is found`() async throws {
        let stranger = try await bench.stranger()
        try await bench.pool.execute("delete from koppeling.worker")
        #expect(
            try await violated()
                == ["consumers_have_a_worker": "consumer \(stranger.consumer) of worker \(stranger.worker)"])
    }

    @Test func `days that are missing, caught rows, and days that are over are found`() async throws {
        try await bench.jump(.seconds(9 * 86_400))
        _ = try await finishedJob()
        let found = try await violated()
        #expect(found["history_days_are_made"] == "job_attempt has no partition for tomorrow")
        #expect(found["history_lies_in_its_days"]?.hasPrefix("a job that finished at") == true)
        #expect(found["history_is_pruned"]?.hasPrefix("job_done_") == true)
        try await bench.working([Does.always(.done())]) { _ in
            // Without looking at the history, which would be in the way.
            try await eventually {
                try await bench.value(
                    """
                    select count(*) from pg_class
                    where relname ~ '^job_done_2' and relkind = 'r'
                    """, as: Int64.self) == 6
            }
        }
        #expect(try await violated() == [:])
    }

    @Test func `single jobs are looked at as far back as is asked`() async throws {
        _ = try await finishedJob()
        try await bench.pool.execute("insert into koppeling.job_history select * from koppeling.job_history")
        try await bench.pool.execute("select setval('koppeling.job_id_seq', 200000)")
        #expect(try await violated() == [:])
        #expect(try await violated(numbersBack: 200_000).keys.sorted() == ["finished_once"])
    }

    /// The invariants that are violated, each with an example.
    private func violated(numbersBack: Int64 = 100_000) async throws -> [String: String] {
        let rows = try await bench.pool.query(
            "select invariant, example from koppeling.check_queue(\(numbersBack)::bigint) where violations > 0")
        var found: [String: String] = [:]
        for row in rows { found[try row.decode("invariant")] = try row.decode("example") }
        return found
    }

    private func finishedJob() async throws -> Int64 {
        let stranger = try await bench.stranger()
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        try await stranger.complete(try #require(try await stranger.claim().first))
        return id
    }
}
