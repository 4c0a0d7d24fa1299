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
