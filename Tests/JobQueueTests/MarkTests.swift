import IO
import JobQueue
import Postgres
import TestSupport
import Testing

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

    @Test func `of the marks of several consumptions of one queue the earliest counts`() async throws {
        let stranger = try await bench.stranger()
        #expect(try await stranger.claim().isEmpty, "it waits")
        try await bench.queue.enqueue(NewJob(kind: "echo"))
        let look = try await bench.pool.query(
            """
            select is_due from koppeling.look_for_work(\(stranger.worker)::bigint, array['default', 'default'],
                array['echo', 'echo'], array[0, 0], array[now() + interval '1 hour', now() - interval '1 hour'])
            """)
        #expect(try look.map { try $0.decode("is_due", as: Bool.self) } == [true])
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
                // Time passes, and later jobs are done meanwhile.
                try await bench.jump(.seconds(2))
                let others = try await bench.queue.enqueue(many: [NewJob(kind: "echo"), NewJob(kind: "echo")])
                try await eventually { Set(others).isSubset(of: done.all) }
                return late
            }
            try await eventually { done.all.contains(late) }
        }
    }
}
