import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct LimitTests {
    let bench = Bench()

    func limit(_ key: String, concurrency: Int32? = nil, rate: Int32? = nil, period: String? = nil) async throws {
        try await bench.pool.query(
            "select koppeling.set_limit(\(key)::text, \(concurrency)::int, \(rate)::int, \(period)::text::interval)")
    }

    func enqueue(_ count: Int, limitKey: String? = nil, orderKey: String? = nil) async throws -> [Int64] {
        try await bench.queue.enqueue(
            many: (0..<count).map { _ in NewJob(kind: "echo", orderKey: orderKey, limitKey: limitKey) })
    }

    @Test func `no more jobs run at once than the limit of their key allows, over all workers`() async throws {
        try await limit("l", concurrency: 3)
        let limited = try await enqueue(10, limitKey: "l")
        let free = try await enqueue(5)
        let one = try await bench.stranger("one")
        let two = try await bench.stranger("two")
        let claimed = try await one.claim()
        #expect(Set(claimed.map(\.id)) == Set(limited.prefix(3) + free))
        #expect(try await two.claim().isEmpty)
        #expect(try await bench.state(limited[3]) == "blocked")
        try await one.complete(claimed[0])
        #expect(try await two.claim().map(\.id) == [limited[3]])
        #expect(try await two.claim().isEmpty)
    }

    @Test func `a dead worker's share of a limit is free again`() async throws {
        try await limit("l", concurrency: 1)
        let ids = try await enqueue(2, limitKey: "l")
        let nurse = try await bench.stranger("nurse")
        let victim = try await bench.stranger("victim")
        #expect(try await victim.claim().map(\.id) == [ids[0]])
        #expect(try await nurse.claim().isEmpty)
        try await victim.die(found: nurse)
        #expect(try await nurse.claim().map(\.id) == [ids[1]])
    }

    @Test func `no more jobs start in a period than the rate allows`() async throws {
        try await bench.freeze()
        try await limit("l", rate: 4, period: "2 seconds")
        let ids = try await enqueue(10, limitKey: "l")
        let stranger = try await bench.stranger()
        var started: [Int64] = []
        for (time, count) in [(0.0, 4), (0.4, 0), (0.5, 1), (0.6, 0), (1.5, 2), (60, 3)] {
            try await bench.freeze(at: time)
            let claimed = try await stranger.claim()
            #expect(claimed.count == count, "after \(time) s")
            started += claimed.map(\.id)
            for job in claimed { try await stranger.complete(job) }
        }
        #expect(started == ids)
    }

    @Test func `a changed limit holds at once, also when the row itself is changed`() async throws {
        try await limit("l", concurrency: 1)
        let ids = try await enqueue(6, limitKey: "l")
        let stranger = try await bench.stranger()
        #expect(try await stranger.claim().map(\.id) == [ids[0]])
        try await limit("l", concurrency: 3)
        #expect(try await stranger.claim().map(\.id) == Array(ids[1...2]))
        try await bench.pool.execute("update koppeling.job_limit set concurrency = 4 where limit_key = 'l'")
        #expect(try await stranger.claim().map(\.id) == [ids[3]])
        #expect(try await bench.value("select koppeling.remove_limit('l')", as: Bool.self))
        #expect(try await stranger.claim().map(\.id) == Array(ids[4...5]))
    }

    @Test func `a limit that makes no sense is refused by the name of the field`() async throws {
        for (arguments, field) in [
            ("'', 1", "limit_key"), ("'l', 0", "concurrency"), ("'l', null, 0, '1 second'", "rate"),
            ("'l', null, 1", "period"), ("'l', null, null, '1 second'", "rate"), ("'l'", "concurrency"),
            ("'l', null, 1, '0 seconds'", "period"),
        ] {
            let error = await #expect(throws: PostgresError.self) {
                try await bench.pool.query("select koppeling.set_limit(\(unsafe: arguments))")
            }
            #expect(error?.sqlState == "22023" && error?.message.hasPrefix("\(field):") == true, "\(arguments)")
        }
    }

    @Test func `order and limit hold together with several workers`() async throws {
        let keys = 7
        for key in 0..<keys { try await limit("k\(key)", concurrency: 1, rate: 1_000, period: "1 second") }
        try await bench.queue.enqueue(
            many: (0..<210).map {
                NewJob(kind: "echo", args: JSONText("[\($0)]"), orderKey: "o\($0 % 21)", limitKey: "k\($0 % keys)")
            })
        let seen = Record<(key: String, id: Int64)>()
        let running = Locked<[String: Int]>([:])
        let worst = Locked(0)
        let handler = Does { jobs, _ in
            for job in jobs {
                running.withLock { running in
                    running[job.limitKey ?? "", default: 0] += 1
                    let most = running.values.max() ?? 0
                    worst.withLock { $0 = max($0, most) }
                }
                seen.add((job.orderKey ?? "", job.id))
            }
            await Task.yield()
            for job in jobs { running.withLock { $0[job.limitKey ?? "", default: 0] -= 1 } }
            return jobs.all(.done())
        }
        try await bench.working([handler], options: Bench.options(name: "one"), batch: 5, concurrentBatches: 2) { _ in
            try await bench.working([handler], options: Bench.options(name: "two"), batch: 3) { _ in
                try await eventually { seen.count == 210 }
            }
        }
        #expect(worst.withLock { $0 } == 1)
        for jobs in Dictionary(grouping: seen.all, by: \.key).values {
            #expect(jobs.map(\.id) == jobs.map(\.id).sorted())
        }
    }
}
