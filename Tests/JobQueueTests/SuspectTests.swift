import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct SuspectTests {
    let bench = Bench()

    @Test func `three deaths while it ran alone make a job poison`() async throws {
        let ids = try await bench.queue.enqueue(many: [NewJob(kind: "echo"), NewJob(kind: "echo")])
        let nurse = try await bench.stranger("nurse")
        let first = try await bench.stranger("victim")
        #expect(try await first.claim().map(\.id) == ids)
        try await first.die(found: nurse)
        #expect(try await nurse.claim().isEmpty, "they are not to run beside others")
        for _ in 0..<3 {
            #expect(try await bench.state(ids[0]) == "ready")
            let victim = try await bench.stranger("victim")
            #expect(try await victim.claim(1, suspects: true, alone: true).map(\.id) == [ids[0]])
            try await victim.die(found: nurse)
        }
        #expect(try await bench.state(ids[0]) == "rejected")
        #expect(
            try await bench.value("select reason from koppeling.jobs where id = \(ids[0])", as: String.self)
                == "poison: its worker died three times while it ran alone")
        let innocent = try await nurse.claim(1, suspects: true, alone: true)
        #expect(innocent.map(\.id) == [ids[1]])
        try await nurse.complete(innocent[0], "retry", note: "failed, but lived", delay: 0)
        #expect(try await nurse.claim().map(\.id) == [ids[1]], "nobody suspects it any more")
    }

    @Test func `a worker runs suspect jobs one by one with nothing beside them`() async throws {
        let suspects = try await bench.queue.enqueue(many: (0..<5).map { _ in NewJob(kind: "echo") })
        let victim = try await bench.stranger("victim")
        let nurse = try await bench.stranger("nurse")
        #expect(try await victim.claim().count == 5)
        try await victim.die(found: nurse)
        let others = try await bench.queue.enqueue(many: (0..<200).map { _ in NewJob(kind: "echo") })
        let running = Locked(0)
        let besideSuspects = Record<Int>()
        let handler = Does { jobs, _ in
            running.withLock { $0 += jobs.count }
            await Task.yield()
            if jobs.contains(where: { suspects.contains($0.id) }) { besideSuspects.add(running.withLock { $0 }) }
            running.withLock { $0 -= jobs.count }
            return jobs.all(.done())
        }
        try await bench.working([handler], batch: 7, concurrentBatches: 4) { _ in
            try await eventually {
                try await bench.value("select count(*) from koppeling.jobs where state = 'done'", as: Int64.self)
                    == Int64(suspects.count + others.count)
            }
        }
        #expect(besideSuspects.all == [1, 1, 1, 1, 1])
    }
}

@Suite(.database) struct CancellationTests {
    let bench = Bench()

    struct Sleeper: SingleJobHandler {
        let begun: Record<Int64>
        let ended: Record<Int64>
        var kinds: Set<String> { ["echo"] }
        func run(_ job: Job, _ context: JobContext) async throws -> Outcome {
            begun.add(job.id)
            defer { ended.add(job.id) }
            try await Task.sleep(for: .seconds(600))
            return .done()
        }
    }

    @Test func `a running job is cancelled: its task, and nothing but its task`() async throws {
        let begun = Record<Int64>()
        let ended = Record<Int64>()
        let ids = try await bench.queue.enqueue(many: (0..<3).map { _ in NewJob(kind: "echo") })
        try await bench.working([Sleeper(begun: begun, ended: ended)]) { _ in
            try await eventually { begun.count == 3 }
            #expect(try await bench.queue.cancel(ids[1], reason: "enough"))
            try await eventually { ended.all == [ids[1]] }
            for id in [ids[0], ids[2]] { #expect(try await bench.queue.cancel(id, reason: "enough")) }
            try await eventually { try await bench.state(ids[1]) == "cancelled" }
        }
        #expect(try await bench.values("select distinct reason from koppeling.jobs", as: String.self) == ["enough"])
        #expect(
            try await bench.value("select count(*) from koppeling.job_cancellation", as: Int64.self) == 0)
    }

    @Test func `a batch whose jobs are all cancelled is cancelled as a whole`() async throws {
        let begun = Record<Int>()
        let handler = Does { jobs, _ in
            begun.add(jobs.count)
            try await Task.sleep(for: .seconds(600))
            return jobs.all(.done())
        }
        let ids = try await bench.queue.enqueue(many: (0..<2).map { _ in NewJob(kind: "echo") })
        try await bench.working([handler]) { _ in
            try await eventually { begun.count == 1 }
            for id in ids { #expect(try await bench.queue.cancel(id, reason: "enough")) }
            for id in ids { try await eventually { try await bench.state(id) == "cancelled" } }
        }
    }

    @Test func `a job that is done before it hears of its cancellation is done`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let stranger = try await bench.stranger()
        let job = try #require(try await stranger.claim().first)
        #expect(try await bench.queue.cancel(id, reason: "enough"))
        try await stranger.complete(job)
        #expect(try await bench.state(id) == "done")
        #expect(try await !bench.queue.cancel(id, reason: "too late"))
    }
}

@Suite(.database) struct MarkTests {
    let bench = Bench()

    @Test func `a claim with marks passes over what lies before them, and one without finds it`() async throws {
        let stranger = try await bench.stranger()
        let ids = try await bench.queue.enqueue(many: [NewJob(kind: "echo"), NewJob(kind: "echo", priority: 5)])
        func claim(_ marks: String) async throws -> [Int64] {
            let jobs: [(id: Int64, claim: Int32)] = try await bench.pool.query(
                """
                select id, claim from koppeling.claim_jobs(\(stranger.worker)::bigint, \(stranger.consumer)::bigint, 10,
                    \(unsafe: marks))
                """
            ).map { (try $0.decode("id"), try $0.decode("claim")) }
            for job in jobs { try await stranger.complete(job, "released") }
            return jobs.map(\.id)
        }
        let later = "now() + interval '1 second'"
        #expect(try await claim("array['echo'], array[0], array[\(later)]") == [ids[1]])
        // What was given back lies elsewhere: no mark hides it.
        #expect(try await claim("array['echo', 'echo'], array[0, 5], array[\(later), \(later)]") == [ids[1]])
        #expect(try await claim("array['other'], array[0], array[\(later)]") == ids)
    }

    @Test func `a job that was committed long after it was enqueued is found while the worker is busy`() async throws {
        let done = Record<Int64>()
        let handler = Does { jobs, _ in
            for job in jobs { done.add(job.id) }
            return jobs.all(.done())
        }
        try await bench.working([handler], batch: 1) { _ in
            let late = try await bench.pool.transaction { connection -> Int64 in
                let late = try await bench.queue.enqueue(NewJob(kind: "echo"), on: connection)
                // The clock goes on, and later jobs are done meanwhile.
                try await connection.query("select pg_sleep(1)")
                let others = try await bench.queue.enqueue(many: [NewJob(kind: "echo"), NewJob(kind: "echo")])
                try await eventually { Set(others).isSubset(of: done.all) }
                return late
            }
            try await eventually { done.all.contains(late) }
        }
    }
}
