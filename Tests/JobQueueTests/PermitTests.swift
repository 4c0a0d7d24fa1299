import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct PermitTests {
    let bench = Bench()

    private func take(_ holder: String, _ stranger: Stranger, begin: Bool = true) async throws -> Int64? {
        try await bench.value(
            """
            select koppeling.acquire_permit('r', \(holder)::text, \(stranger.worker)::bigint, \(begin)::boolean)
            """)
    }

    @Test func `eight takers never hold more than the budget between them`() async throws {
        let worker = bench.worker()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await worker.run() }
            // Two sets of permits, as two processes would have them.
            let sets = [Permits(pool: bench.pool, worker: worker), Permits(pool: bench.pool, worker: worker)]
            try await sets[0].setBudget(3, of: "r")
            let (active, most, calls) = (Locked(0), Locked(0), Record<Int>())
            try await withThrowingTaskGroup(of: Void.self) { takers in
                for taker in 0..<8 {
                    takers.addTask {
                        for _ in 0..<10 {
                            try await sets[taker % 2].withPermit("r", holder: "h\(taker % 4)") {
                                let now = active.withLock { count in
                                    count += 1
                                    return count
                                }
                                most.withLock { $0 = max($0, now) }
                                try await Task.sleep(for: .milliseconds(2))
                                active.withLock { $0 -= 1 }
                                calls.add(taker)
                            }
                        }
                    }
                }
                try await takers.waitForAll()
            }
            #expect(calls.count == 80)
            #expect(most.withLock { $0 } <= 3)
            #expect(most.withLock { $0 } > 1)
            #expect(try await bench.value("select count(*) from koppeling.permit", as: Int64.self) == 0)
            tasks.cancelAll()
        }
    }

    @Test func `a permit is given back when the body throws or is cancelled`() async throws {
        struct Mishap: Error {}
        let worker = bench.worker()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await worker.run() }
            let permits = Permits(pool: bench.pool, worker: worker)
            try await permits.setBudget(1, of: "r")
            await #expect(throws: Mishap.self) {
                try await permits.withPermit("r", holder: "h") { throw Mishap() }
            }
            let holding = Task {
                try await permits.withPermit("r", holder: "h") { try await Task.sleep(for: .seconds(600)) }
            }
            try await eventually { try await bench.value("select count(*) from koppeling.permit", as: Int64.self) == 1 }
            let waiting = Task { try await permits.withPermit("r", holder: "h") {} }
            waiting.cancel()
            await #expect(throws: (any Error).self) { try await waiting.value }
            holding.cancel()
            await #expect(throws: (any Error).self) { try await holding.value }
            #expect(try await permits.withPermit("r", holder: "h") { true })
            tasks.cancelAll()
        }
    }

    @Test func `a holder with less than its share goes before one that has it`() async throws {
        let stranger = try await bench.stranger()
        try await bench.pool.query("select koppeling.set_permit_budget('r', 4)")
        var held: [Int64] = []
        for _ in 0..<4 { held.append(try #require(try await take("greedy", stranger))) }
        #expect(try await take("late", stranger) == nil, "the budget is used up")
        try await bench.pool.query("select koppeling.release_permit(\(held[0])::bigint)")
        #expect(try await take("greedy", stranger) == nil, "the other waits, and has less than half")
        #expect(try await take("late", stranger) != nil)
        try await bench.pool.query("select koppeling.release_permit(\(held[1])::bigint)")
        #expect(try await take("greedy", stranger) != nil, "nobody else waits")
    }

    @Test func `throttling halves what is allowed, once in ten seconds, and a quiet minute gives one back`()
        async throws
    {
        func throttle() async throws -> Int32 { try await bench.value("select koppeling.throttle('r')") }
        #expect(try await throttle() == 3)
        #expect(try await throttle() == 3)
        try await bench.jump(.seconds(11))
        #expect(try await throttle() == 1)
        try await bench.jump(.seconds(22))
        #expect(try await throttle() == 1)
        let stranger = try await bench.stranger()
        #expect(try await take("h", stranger) != nil)
        #expect(try await take("h", stranger) == nil)
        try await bench.jump(.seconds(22 + 61))
        #expect(try await take("h", stranger) != nil)
        #expect(try await take("h", stranger) == nil)
        try await bench.jump(.seconds(22 + 3600))
        // The leases of the first two are over by now.
        for _ in 0..<6 { #expect(try await take("h", stranger) != nil) }
        #expect(try await take("h", stranger) == nil, "never more than the budget")
    }

    @Test func `a dead worker's permits lapse: unused after 30 seconds, used after 120`() async throws {
        try await bench.pool.query("select koppeling.set_permit_budget('r', 2)")
        let dead = try await bench.stranger("dead")
        let unused = try #require(try await take("h", dead, begin: false))
        _ = try #require(try await take("h", dead))
        let heir = try await bench.stranger("heir")
        try await bench.jump(.seconds(29))
        #expect(try await take("h", heir) == nil)
        try await bench.jump(.seconds(31))
        #expect(try await take("h", heir) != nil)
        #expect(try await take("h", heir) == nil)
        #expect(
            try await !bench.value(
                "select koppeling.begin_call_under_permit(\(unused)::bigint)", as: Bool.self), "it has lapsed")
        try await bench.jump(.seconds(121))
        #expect(try await take("h", heir) != nil)
    }

    @Test func `a live worker's permit does not lapse however long its call takes`() async throws {
        try await bench.pool.query("select koppeling.set_permit_budget('r', 1)")
        let slow = try await bench.stranger("slow")
        _ = try #require(try await take("h", slow))
        try await bench.jump(.seconds(300))
        try await bench.pool.execute("update koppeling.worker set heartbeat_at = koppeling.now()")
        #expect(try await take("h", slow) == nil)
    }

    @Test func `a budget outside one to ten is refused`() async throws {
        for budget in [0, 11] as [Int32] {
            await #expect(throws: PostgresError.self) {
                try await bench.pool.query("select koppeling.set_permit_budget('r', \(budget)::int)")
            }
        }
    }
}
