import FoundationEssentials
import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct OrderTests {
    let bench = Bench()

    @Test func `jobs are claimed by priority, then by time, then by number`() async throws {
        let queue = bench.queue
        let past = Date(timeIntervalSinceReferenceDate: 0)
        let last = try await queue.enqueue(NewJob(kind: "echo", priority: 1))
        let third = try await queue.enqueue(NewJob(kind: "echo", runAt: past + 10))
        let fourth = try await queue.enqueue(NewJob(kind: "echo", runAt: past + 10))
        let second = try await queue.enqueue(NewJob(kind: "echo", runAt: past))
        let first = try await queue.enqueue(NewJob(kind: "echo", priority: -1))
        let claimed = try await bench.stranger().claim()
        #expect(claimed.map(\.id) == [first, second, third, fourth, last])
    }

    @Test func `a claim takes no more than it asks for, and of two claims each job goes to one`() async throws {
        try await bench.queue.enqueue(many: (0..<30).map { NewJob(kind: "echo", priority: $0 % 3) })
        let one = try await bench.stranger()
        let two = try await bench.stranger()
        var taken: [Int64] = []
        while true {
            async let first = one.claim(7)
            async let second = two.claim(7)
            let claimed = try await (first, second)
            #expect(claimed.0.count <= 7 && claimed.1.count <= 7)
            if claimed.0.isEmpty && claimed.1.isEmpty { break }
            taken += claimed.0.map(\.id) + claimed.1.map(\.id)
        }
        #expect(taken.count == 30)
        #expect(Set(taken).count == 30)
    }

    @Test func `a consumer takes only its kinds`() async throws {
        try await bench.pool.execute("insert into koppeling.job_kind (kind) values ('one'), ('two'), ('three')")
        for kind in ["one", "two", "three"] { try await bench.queue.enqueue(NewJob(kind: kind)) }
        let stranger = try await bench.stranger(kinds: ["two", "three"])
        #expect(try await stranger.claim().count == 2)
        #expect(
            try await bench.values("select kind from koppeling.job where state = 'ready'", as: String.self) == ["one"])
    }

    @Test func `a job does not start before its time`() async throws {
        let id: Int64 = try await bench.value(
            "select koppeling.enqueue('echo', run_at => koppeling.now() + interval '1 hour')")
        let stranger = try await bench.stranger()
        #expect(try await bench.state(id) == "scheduled")
        #expect(try await stranger.claim().isEmpty)
        try await bench.jump(.seconds(3601))
        #expect(try await stranger.claim().map(\.id) == [id])
    }

    @Test func `a parked job waits for its release and holds nobody up`() async throws {
        let parked = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o", runAt: .distantFuture))
        let other = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        let stranger = try await bench.stranger()
        let claimed = try await stranger.claim()
        #expect(claimed.map(\.id) == [other])
        #expect(try await bench.queue.release(parked: [parked, other]) == 1)
        #expect(try await stranger.claim().isEmpty)
        try await stranger.complete(claimed[0])
        #expect(try await stranger.claim().map(\.id) == [parked])
    }

    @Test func `a failed job that waits for its retry still goes before the later ones of its order key`() async throws
    {
        let first = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
        let second = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o", priority: -5))
        let stranger = try await bench.stranger()
        let claimed = try await stranger.claim()
        #expect(claimed.map(\.id) == [first])
        try await stranger.complete(claimed[0], "retry", note: "again", delay: 60)
        #expect(try await stranger.claim().isEmpty)
        try await bench.jump(.seconds(61))
        let again = try await stranger.claim()
        #expect(again.map(\.id) == [first])
        try await stranger.complete(again[0], "rejected", note: "never")
        #expect(try await stranger.claim().map(\.id) == [second])
    }

    @Test func `an order key committed late never runs beside another of its key`() async throws {
        let one = try await bench.stranger()
        let two = try await bench.stranger()
        let earlier = try await bench.pool.transaction { connection -> Int64 in
            let earlier = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"), on: connection)
            let later = try await bench.queue.enqueue(NewJob(kind: "echo", orderKey: "o"))
            #expect(later > earlier)
            #expect(try await one.claim().map(\.id) == [later])
            return earlier
        }
        #expect(try await two.claim().isEmpty)
        #expect(try await bench.state(earlier) == "blocked")
    }

    @Test func `two workers keep the order of every key`() async throws {
        let keys = 5
        let each = 20
        try await bench.queue.enqueue(
            many: (0..<keys * each).map { NewJob(kind: "echo", args: JSONText("[\($0)]"), orderKey: "o\($0 % keys)") })
        let begun = Record<(key: String, number: Int)>()
        let active = Locked<Set<String>>([])
        let overlaps = Record<String>()
        let handler = Does { jobs, _ in
            for job in jobs {
                let key = try #require(job.orderKey)
                if !active.withLock({ $0.insert(key).inserted }) { overlaps.add(key) }
                begun.add((key, try job.args.decode([Int].self)[0]))
            }
            await Task.yield()
            for job in jobs { active.withLock { _ = $0.remove(job.orderKey ?? "") } }
            return jobs.all(.done())
        }
        try await bench.working([handler], batch: 3, concurrentBatches: 2) { _ in
            try await bench.working([handler], batch: 3, concurrentBatches: 2) { _ in
                try await eventually("every job", within: .seconds(30)) { begun.count == keys * each }
            }
        }
        #expect(overlaps.all.isEmpty)
        for key in 0..<keys {
            let numbers = begun.all.filter { $0.key == "o\(key)" }.map(\.number)
            #expect(numbers == numbers.sorted() && numbers.count == each)
        }
    }
}
