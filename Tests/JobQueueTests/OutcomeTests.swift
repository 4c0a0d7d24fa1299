import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct OutcomeTests {
    let bench = Bench()

    @Test func `each job of a batch gets its own outcome`() async throws {
        let ids = try await bench.queue.enqueue(many: (0..<5).map { NewJob(kind: "echo", args: JSONText("[\($0)]")) })
        let handler = Does { jobs, _ in
            var outcomes: [Int64: Outcome] = [:]
            for job in jobs {
                outcomes[job.id] =
                    switch try job.args.decode([Int].self)[0] {
                    case 0: .done(#"{"answer": 42}"#)
                    case 1: .retry(after: .seconds(3600), error: "not now\0")
                    case 2: .snooze(.seconds(3600))
                    case 3: .rejected(reason: "cannot be")
                    default: .cancelled(reason: "not wanted")
                    }
            }
            return outcomes
        }
        try await bench.working([handler]) { _ in
            try await eventually { try await bench.state(ids[4]) == "cancelled" }
        }
        var states: [String] = []
        for id in ids { states.append(try await bench.state(id)) }
        #expect(states == ["done", "scheduled", "scheduled", "rejected", "cancelled"])
        #expect(
            try await bench.value("select result from koppeling.jobs where id = \(ids[0])::bigint") as JSONText
                == #"{"answer": 42}"#)
        #expect(try await bench.value("select reason from koppeling.jobs where id = \(ids[1])::bigint") == "not now")
        #expect(try await bench.value("select reason from koppeling.jobs where id = \(ids[3])::bigint") == "cannot be")
        #expect(
            try await bench.values("select attempt from koppeling.job order by id", as: Int32.self) == [1, 0],
            "a snooze burns no attempt")
    }

    @Test func `a handler that throws has those without an outcome tried again, and no others`() async throws {
        struct Mishap: Error {}
        let ids = try await bench.queue.enqueue(many: [NewJob(kind: "echo", args: "[0]"), NewJob(kind: "echo")])
        let handler = Does { jobs, context in
            if let first = jobs.first(where: { $0.id == ids[0] }) {
                try await bench.pool.transaction { connection in
                    _ = try await context.complete([first.id: .done()], on: connection)
                }
            }
            throw Mishap()
        }
        try await bench.working([handler]) { _ in
            try await eventually {
                try await bench.value("select count(*) from koppeling.job_attempt", as: Int64.self) == 1
            }
        }
        #expect(try await bench.state(ids[0]) == "done")
        #expect(try await bench.value("select error from koppeling.job where id = \(ids[1])::bigint") == "Mishap()")
    }

    @Test func `a completion in the handler's transaction stands or falls with it`() async throws {
        struct Undo: Error {}
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let handler = Does { jobs, context in
            if jobs[0].attempt == 1 {
                try? await bench.pool.transaction { connection in
                    #expect(try await context.complete([id: .done()], on: connection) == [id])
                    throw Undo()
                }
                #expect(try await context.stillHeld([id]) == [id])
                return [id: .retry(after: .zero, error: "undone")]
            }
            try await bench.pool.transaction { connection in
                try await connection.execute("create table written ()")
                _ = try await context.complete([id: .done()], on: connection)
            }
            #expect(try await context.stillHeld([id]).isEmpty)
            return [:]
        }
        try await bench.working([handler]) { _ in
            try await eventually { try await bench.state(id) == "done" }
        }
        #expect(try await bench.value("select to_regclass('written') is not null", as: Bool.self))
        #expect(try await bench.value("select attempt from koppeling.job_history", as: Int32.self) == 2)
    }

    @Test func `a job that a handler forgets is tried again`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", maxAttempts: 1))
        try await bench.working([Does { _, _ in [:] }]) { _ in
            try await eventually { try await bench.state(id) == "rejected" }
        }
        #expect(
            try await bench.value("select reason from koppeling.jobs", as: String.self)
                == "the handler gave the job no outcome, and did not complete it (attempt 1 of 1)")
    }

    @Test func `an outcome that cannot be recorded gives the job back`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let handler = Does { jobs, _ in
            jobs.all(jobs[0].claim == 1 ? .done("this is not JSON") : .done())
        }
        try await bench.working([handler]) { _ in
            try await eventually { try await bench.state(id) == "done" }
        }
    }

    @Test func `retries wait twice as long each time, with jitter, up to the cap of the kind`() async throws {
        try await bench.pool.execute(
            "update koppeling.job_kind set retry_base = '10 seconds', retry_cap = '1 minute' where kind = 'echo'")
        let stranger = try await bench.stranger()
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", maxAttempts: 6))
        for longest in [10.0, 20, 40, 60, 60] {
            let claimed = try #require(try await stranger.claim().first)
            try await stranger.complete(claimed, "retry", note: "again")
            let wait: Double = try await bench.value(
                "select extract(epoch from run_at - koppeling.now())::float8 from koppeling.job")
            #expect(wait <= longest && wait > longest / 2 - 1)
            try await bench.pool.execute("update koppeling.job set run_at = koppeling.now()")
        }
        try await stranger.complete(try #require(try await stranger.claim().first), "retry", note: "again")
        #expect(try await bench.state(id) == "rejected")
        #expect(try await bench.value("select reason from koppeling.jobs") == "again (attempt 6 of 6)")
    }

    @Test func `a snoozed job may come back any number of times`() async throws {
        let stranger = try await bench.stranger()
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", maxAttempts: 1))
        for _ in 0..<3 {
            try await stranger.complete(try #require(try await stranger.claim().first), "snooze", delay: 0)
        }
        #expect(try await bench.state(id) == "ready")
        #expect(try await bench.value("select snoozes from koppeling.job", as: Int32.self) == 3)
        #expect(
            try await bench.values("select outcome || ' ' || attempt from koppeling.job_attempts", as: String.self)
                == ["snoozed 1", "snoozed 1", "snoozed 1"])
    }

    @Test func `every attempt is kept with its worker, start, end and error`() async throws {
        let one = try await bench.stranger("one")
        let two = try await bench.stranger("two")
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        try await one.complete(try #require(try await one.claim().first), "retry", note: "first", delay: 0)
        let second = try #require(try await two.claim().first)
        #expect(
            try await bench.values("select outcome from koppeling.job_attempts order by attempt", as: String.self)
                == ["retried", "running"])
        try await two.complete(second, note: "[1]")
        let rows = try await bench.pool.query(
            """
            select attempt, worker, outcome, error, started_at, ended_at from koppeling.job_attempts
            where job_id = \(id)::bigint order by attempt
            """)
        #expect(try rows.map { try $0.decode("worker", as: String.self) } == ["one", "two"])
        #expect(try rows.map { try $0.decode("outcome", as: String.self) } == ["retried", "done"])
        #expect(try rows.map { try $0.decode("error", as: String?.self) } == ["first", nil])
        for row in rows {
            #expect(try row.decode("started_at", as: Date.self) <= row.decode("ended_at", as: Date.self))
        }
        #expect(try await bench.value("select worker from koppeling.jobs", as: String.self) == "two")
    }

    @Test func `a person can run a rejected job again, and cancel one that waits`() async throws {
        let stranger = try await bench.stranger()
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", key: "k"))
        let claimed = try #require(try await stranger.claim().first)
        try await stranger.complete(claimed, "rejected", note: "no")
        #expect(try await bench.queue.retry(id) == id)
        #expect(try await bench.state(id) == "ready")
        #expect(
            try await bench.values("select outcome from koppeling.job_attempts", as: String.self) == ["rejected"])
        let again = try #require(try await stranger.claim().first)
        #expect(again.id == id && again.claim == 2)
        try await stranger.complete(again, "rejected", note: "no")
        let other = try await bench.queue.enqueue(NewJob(kind: "echo", key: "k"))
        #expect(try await bench.queue.retry(id) == other, "another waits with its key by now")
        #expect(try await bench.queue.cancel(other, reason: "enough"))
        #expect(try await bench.state(other) == "cancelled")
        await #expect(throws: PostgresError.self) { try await bench.queue.retry(987_654) }
    }

    @Test func `the status of the queues counts what lies in them`() async throws {
        try await bench.queue.enqueue(many: [
            NewJob(kind: "echo"), NewJob(kind: "echo"), NewJob(kind: "echo", runAt: .distantFuture),
            NewJob(kind: "echo", runAt: Date(timeIntervalSinceReferenceDate: 3e9)),
        ])
        _ = try await bench.stranger().claim(1)
        let row = try #require(try await bench.pool.query("select * from koppeling.queue_status").first)
        for (column, count) in [("ready", 1), ("running", 1), ("parked", 1), ("scheduled", 1)] as [(String, Int64)] {
            #expect(try row.decode(column, as: Int64.self) == count, "\(column)")
        }
    }
}
