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

    @Test func `a permit is passed on within its holder's share and what is allowed, else given back`() async throws {
        func pass(_ permit: Int64) async throws -> Bool {
            try await bench.value("select koppeling.pass_permit(\(permit)::bigint)")
        }
        let stranger = try await bench.stranger()
        try await bench.pool.query("select koppeling.set_permit_budget('r', 4)")
        var held: [Int64] = []
        for _ in 0..<4 { held.append(try #require(try await take("greedy", stranger))) }
        #expect(try await pass(held[0]), "nobody else waits")
        #expect(try await take("late", stranger) == nil)
        #expect(try await !pass(held[0]), "the other waits, and has less than half")
        #expect(try await !pass(held[0]), "it was given back")
        #expect(try await take("late", stranger) != nil)
        #expect(try await take("late", stranger) == nil)
        #expect(try await !pass(held[1]))
        #expect(try await take("late", stranger) != nil)
        #expect(try await take("late", stranger) == nil)
        #expect(try await pass(held[2]), "each has its half")
        try await bench.pool.query("select koppeling.throttle('r')")
        #expect(try await !pass(held[2]), "less is allowed than is held")
        #expect(try await bench.value("select count(*) from koppeling.permit", as: Int64.self) == 3)
    }

    @Test func `a worker that died holds nobody up, within ten and twice the budget`() async throws {
        let (dead, alive) = (try await bench.stranger("dead"), try await bench.stranger("alive"))
        try await bench.pool.query("select koppeling.set_permit_budget('r', 3)")
        let lost = try await take("one", dead)
        #expect(lost != nil)
        try await bench.pool.query("update koppeling.permit_budget set allowed = 1, lowered_at = koppeling.now()")
        #expect(try await take("one", alive) == nil, "one is allowed, and its holder lives")
        try await bench.pool.query(
            "update koppeling.worker set ended_at = koppeling.now(), ending = 'died' where id = \(dead.worker)::bigint")
        let first = try #require(try await take("one", alive))
        #expect(try await take("one", alive) == nil, "less is allowed")
        #expect(try await bench.value("select koppeling.pass_permit(\(first)::bigint)", as: Bool.self))
        try await bench.pool.query("update koppeling.permit_budget set allowed = null, lowered_at = null")
        for _ in 0..<2 { #expect(try await take("one", alive) != nil) }
        #expect(try await take("one", alive) == nil, "the living have the budget")
        try await bench.pool.query("select koppeling.set_permit_budget('r', 1)")
        #expect(try await bench.value("select koppeling.pass_permit(\(first)::bigint)", as: Bool.self) == false)
    }

    @Test func `of those who wait in a process one after the other has a permit that is passed on`() async throws {
        let worker = bench.worker()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await worker.run() }
            let permits = Permits(pool: bench.pool, worker: worker)
            try await permits.setBudget(1, of: "r")
            let (active, most, calls) = (Locked(0), Locked(0), Record<Int>())
            try await withThrowingTaskGroup(of: Void.self) { takers in
                for taker in 0..<40 {
                    let task = Task {
                        try await permits.withPermit("r", holder: "h") {
                            let now = active.withLock { count in
                                count += 1
                                return count
                            }
                            most.withLock { $0 = max($0, now) }
                            calls.add(taker)
                            await Task.yield()
                            active.withLock { $0 -= 1 }
                        }
                    }
                    // Every fourth gives up somewhere on the way: what it was given goes to another.
                    takers.addTask {
                        if taker % 4 == 3 { task.cancel() }
                        do { try await task.value } catch is CancellationError {}
                    }
                }
                try await takers.waitForAll()
            }
            #expect(most.withLock { $0 } == 1)
            #expect(calls.count >= 30)
            #expect(try await bench.value("select count(*) from koppeling.permit", as: Int64.self) == 0)
            tasks.cancelAll()
        }
    }

    @Test func `where there is less than one for each the holders take turns`() async throws {
        let stranger = try await bench.stranger()
        try await bench.pool.query("select koppeling.set_permit_budget('r', 1)")
        var held = try #require(try await take("a", stranger))
        var order: [String] = []
        for turn in 0..<9 {
            // All ask while it is taken, and the one that had it asks first as soon as it is free.
            for holder in ["c", "b", "a"] {
                #expect(try await take(holder, stranger) == nil)
            }
            try await bench.pool.query("select koppeling.release_permit(\(held)::bigint)")
            let last = order.last ?? "a"
            var next: (String, Int64)?
            for holder in [last] + ["a", "b", "c"].filter({ $0 != last }) where next == nil {
                if let permit = try await take(holder, stranger) { next = (holder, permit) }
            }
            let (holder, permit) = try #require(next, "turn \(turn)")
            order.append(holder)
            held = permit
        }
        #expect(order == ["c", "b", "a", "c", "b", "a", "c", "b", "a"])
    }

    @Test
    func `where there is less than one for each a permit is passed on within its holder only while none is without`()
        async throws
    {
        func pass(_ permit: Int64) async throws -> Bool {
            try await bench.value("select koppeling.pass_permit(\(permit)::bigint)")
        }
        let stranger = try await bench.stranger()
        try await bench.pool.query("select koppeling.set_permit_budget('r', 2)")
        let (a, b) = (try #require(try await take("a", stranger)), try #require(try await take("b", stranger)))
        #expect(try await pass(a), "nobody waits")
        #expect(try await take("c", stranger) == nil)
        #expect(try await !pass(a), "another has none at all")
        #expect(try await pass(b), "what is free is enough for the other")
        #expect(try await take("a", stranger) == nil, "it is the other's")
        #expect(try await take("c", stranger) != nil)
        #expect(try await !pass(b), "now the first waits")
        #expect(try await take("a", stranger) != nil)
    }

    @Test func `a holder with many takers leaves another its half, and has all while nobody else waits`() async throws {
        let worker = bench.worker()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await worker.run() }
            // As in two processes; the greedy one asks without a pause.
            let (greedy, modest) = (
                Permits(pool: bench.pool, worker: worker), Permits(pool: bench.pool, worker: worker)
            )
            try await greedy.setBudget(4, of: "r")
            let (held, isDone) = (Locked(["greedy": 0, "modest": 0]), Locked(false))
            let most = Locked(0)
            func call(_ permits: Permits, _ holder: String) async throws {
                try await permits.withPermit("r", holder: holder) {
                    let own = held.withLock { held in
                        held[holder, default: 0] += 1
                        return held[holder, default: 0]
                    }
                    if holder == "greedy" { most.withLock { $0 = max($0, own) } }
                    try await Task.sleep(for: .milliseconds(5))
                    held.withLock { $0[holder, default: 0] -= 1 }
                }
            }
            for _ in 0..<8 {
                tasks.addTask { while !isDone.withLock({ $0 }) { try await call(greedy, "greedy") } }
            }
            try await eventually("the greedy one has all") { most.withLock { $0 } == 4 }
            // Served although the other would take everything at every moment.
            try await withThrowingTaskGroup(of: Void.self) { takers in
                for _ in 0..<2 {
                    takers.addTask { for _ in 0..<15 { try await call(modest, "modest") } }
                }
                try await takers.waitForAll()
            }
            isDone.withLock { $0 = true }
            tasks.cancelAll()
            while await tasks.nextResult() != nil {}
        }
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
        try await bench.pool.query("update koppeling.worker set heartbeat_at = koppeling.now()")
        #expect(try await take("h", stranger) != nil)
        #expect(try await take("h", stranger) == nil)
        try await bench.jump(.seconds(22 + 3600))
        // The leases of the first two are over by now; whoever takes more is alive again.
        #expect(try await take("h", stranger) != nil)
        try await bench.pool.query("update koppeling.worker set heartbeat_at = koppeling.now()")
        for _ in 0..<5 { #expect(try await take("h", stranger) != nil) }
        #expect(try await take("h", stranger) == nil, "never more than the budget")
    }

    @Test func `a dead worker's permits lapse: unused after 30 seconds, used after 120`() async throws {
        try await bench.pool.query("select koppeling.set_permit_budget('r', 2)")
        let dead = try await bench.stranger("dead")
        let unused = try #require(try await take("h", dead, begin: false))
        _ = try #require(try await take("h", dead))
        let heir = try await bench.stranger("heir")
        func left() async throws -> Int64 {
            let taken = try #require(try await take("h", heir))
            try await bench.pool.query("select koppeling.release_permit(\(taken)::bigint)")
            return try await bench.value(
                "select count(*) from koppeling.permit where worker_id = \(dead.worker)::bigint")
        }
        try await bench.jump(.seconds(29))
        #expect(try await left() == 2)
        try await bench.jump(.seconds(31))
        #expect(try await left() == 1)
        #expect(
            try await !bench.value(
                "select koppeling.begin_call_under_permit(\(unused)::bigint)", as: Bool.self), "it has lapsed")
        try await bench.jump(.seconds(121))
        #expect(try await left() == 0)
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
