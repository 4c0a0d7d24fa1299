import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct RescueTests {
    let bench = Bench()

    @Test func `a dead worker's jobs are done by another, and the zombie's completion is refused`() async throws {
        let zombie = try await bench.stranger("zombie")
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let held = try #require(try await zombie.claim().first)
        let attempts = Record<Int>()
        let handler = Does { jobs, _ in
            jobs.forEach { attempts.add($0.attempt) }
            return jobs.all(.done())
        }
        try await bench.working([handler]) { _ in
            try await bench.jump(.seconds(16))
            try await eventually("the rescue") { try await bench.state(id) == "done" }
        }
        #expect(attempts.all == [2], "the attempt of the dead worker counts")
        #expect(try await !zombie.complete(held))
        #expect(
            try await bench.values(
                "select worker || ' ' || outcome from koppeling.job_attempts order by attempt", as: String.self)
                == ["zombie died", "worker done"])
        #expect(
            try await bench.value("select state from koppeling.workers where name = 'zombie'", as: String.self)
                == "died")
    }

    @Test func `a worker that lives keeps its jobs`() async throws {
        let other = try await bench.stranger("other")
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let held = try #require(try await other.claim().first)
        // A consumer of another kind, so that it only beats.
        try await bench.working([Does(["idle"]) { jobs, _ in jobs.all(.done()) }]) { _ in
            try await bench.jump(.seconds(14))
            let beats = "select max(heartbeat_at)::text from koppeling.worker where name = 'worker'"
            for _ in 0..<3 {
                let last: String = try await bench.value("\(unsafe: beats)")
                try await eventually { try await bench.value("\(unsafe: beats)", as: String.self) != last }
            }
        }
        #expect(try await bench.state(id) == "running")
        #expect(try await other.complete(held))
    }

    @Test func `a worker that was out of touch itself declares nobody dead`() async throws {
        let one = try await bench.stranger("one")
        let two = try await bench.stranger("two")
        try await bench.jump(.seconds(3600))
        #expect(
            try await bench.value(
                "select is_alive from koppeling.beat(\(one.worker)::bigint, '15 seconds')", as: Bool.self))
        #expect(
            try await bench.value(
                "select is_alive from koppeling.beat(\(two.worker)::bigint, '15 seconds')", as: Bool.self))
    }

    @Test func `a worker that finds itself declared dead registers again and goes on`() async throws {
        let handler = Does.always(.done())
        try await bench.working([handler]) { worker in
            let before = try await worker.id
            try await bench.pool.execute(
                "update koppeling.worker set ended_at = koppeling.now(), ending = 'died' where id = \(before)::bigint")
            try await eventually { try await worker.id != before }
            let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
            try await eventually { try await bench.state(id) == "done" }
        }
    }

    @Test func `the handler of a worker that was declared dead is cancelled, and what it says does not count`()
        async throws
    {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let handler = Does { jobs, _ in
            // Until it is cancelled, the first time.
            if jobs[0].claim == 1 { try? await Task.sleep(for: .seconds(600)) }
            return jobs.all(.done(JSONText("[\(jobs[0].claim)]")))
        }
        try await bench.working([handler]) { worker in
            try await eventually { try await bench.state(id) == "running" }
            let before = try await worker.id
            let nurse = try await bench.stranger("nurse")
            try await bench.pool.transaction { connection in
                try await connection.execute(
                    """
                    update koppeling.worker set ended_at = koppeling.now(), ending = 'died'
                    where id = \(before)::bigint
                    """)
                try await connection.query("select koppeling.beat(\(nurse.worker)::bigint, '15 seconds')")
            }
            try await eventually { try await bench.state(id) == "done" }
        }
        #expect(try await bench.value("select result from koppeling.jobs", as: JSONText.self) == "[2]")
    }

    @Test func `consumers that a crash of the server has forgotten are registered again`() async throws {
        try await bench.working([Does.always(.done())], options: Bench.options(slowPoll: .milliseconds(100))) { _ in
            try await eventually {
                try await bench.value(
                    "select exists (select from koppeling.consumer where waiting)", as: Bool.self)
            }
            try await bench.pool.execute("truncate koppeling.consumer")
            let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
            try await eventually { try await bench.state(id) == "done" }
        }
    }

    @Test func `connections that are cut do not lose or keep a job`() async throws {
        let count = 300
        let handler = Does.always(.done())
        try await bench.working([handler], batch: 5, concurrentBatches: 2) { _ in
            let admin = try await Connection.connect(bench.settings)
            for _ in 0..<10 {
                try await bench.queue.enqueueStubbornly(count / 10)
                _ = try await admin.query(
                    """
                    select pg_terminate_backend(pid) from pg_stat_activity
                    where datname = current_database() and pid <> pg_backend_pid()
                    """)
            }
            try await eventually("all jobs", within: .seconds(30)) {
                try await admin.query("select from koppeling.job").isEmpty
            }
            let done = try await admin.query("select from koppeling.job_history where outcome = 'done'").count
            #expect(done == count)
        }
    }
}

extension JobQueue {
    /// Enqueues echo jobs under keys of their own, again when the connection was lost.
    fileprivate func enqueueStubbornly(_ count: Int) async throws {
        for attempt in 1...20 {
            do {
                try await enqueue(many: (0..<count).map { _ in NewJob(kind: "echo") })
                return
            } catch let error as PostgresError where error.isRetryable && attempt < 20 {
                continue
            }
        }
    }
}
