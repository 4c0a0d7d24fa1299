import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

/// All with a slow poll of a minute: whatever happens sooner was told.
@Suite(.database) struct WakingTests {
    let bench = Bench()

    private func untilIdle(_ consumers: Int64 = 1) async throws {
        try await eventually("idleness") {
            try await bench.value("select count(*) from koppeling.consumer where waiting", as: Int64.self) == consumers
        }
    }

    @Test func `a job starts as soon as it is enqueued`() async throws {
        try await bench.working([Does.always(.done())]) { _ in
            for _ in 0..<5 {
                try await untilIdle()
                let start = ContinuousClock.now
                let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
                try await eventually(within: .seconds(5)) { try await bench.state(id) == "done" }
                #expect(ContinuousClock.now - start < .seconds(5))
            }
        }
    }

    @Test func `a job whose time comes starts then`() async throws {
        try await bench.working([Does.always(.done())]) { _ in
            try await untilIdle()
            let id: Int64 = try await bench.value(
                "select koppeling.enqueue('echo', run_at => koppeling.now() + interval '1 second')")
            try await eventually(within: .seconds(8)) { try await bench.state(id) == "done" }
        }
    }

    @Test func `a retry starts when its wait is over`() async throws {
        let handler = Does { jobs, _ in
            jobs.all(jobs[0].attempt == 1 ? .retry(after: .milliseconds(300), error: "again") : .done())
        }
        try await bench.working([handler]) { _ in
            let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
            try await eventually(within: .seconds(8)) { try await bench.state(id) == "done" }
        }
    }

    @Test func `who waits is told when a finished job lets another of its order key start`() async throws {
        let busy = try await bench.stranger("busy")
        let idle = try await bench.stranger("idle")
        let ids = try await bench.queue.enqueue(many: ["o", "o", "p"].map { NewJob(kind: "echo", orderKey: $0) })
        let held = try await busy.claim()
        #expect(held.map(\.id) == [ids[0], ids[2]])
        #expect(try await idle.claim().isEmpty)
        let listener = try await Connection.connect(bench.settings)
        try await listener.listen("koppeling_job")
        try await busy.complete(held[1])
        try await bench.pool.query("select pg_notify('koppeling_job', 'nothing waited behind that one')")
        #expect(try await listener.notification().payload == "nothing waited behind that one")
        try await busy.complete(held[0])
        #expect(try await listener.notification().payload.isEmpty)
        #expect(try await idle.claim().map(\.id) == [ids[1]])
    }

    @Test func `released parked jobs start at once`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", runAt: .distantFuture))
        try await bench.working([Does.always(.done())]) { _ in
            try await untilIdle()
            try await bench.queue.release(parked: [id]).expectOne()
            try await eventually(within: .seconds(5)) { try await bench.state(id) == "done" }
        }
    }

    @Test func `many consumers share one worker, and each is woken for its own queue`() async throws {
        let worker = bench.worker()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await worker.run() }
            for number in 0..<20 {
                tasks.addTask {
                    try? await worker.consume(queue: "q\(number)", handlers: [Does.always(.done())])
                }
            }
            try await untilIdle(20)
            let ids = try await bench.queue.enqueue(many: (0..<20).map { NewJob(kind: "echo", queue: "q\($0)") })
            try await eventually(within: .seconds(5)) {
                try await bench.value(
                    "select count(*) from koppeling.job_history where outcome = 'done'", as: Int64.self)
                    == Int64(ids.count)
            }
            tasks.cancelAll()
        }
    }

    @Test func `one notification a transaction, and none when nobody waits`() async throws {
        let listener = try await Connection.connect(bench.settings)
        try await listener.listen("koppeling_job")
        try await bench.queue.enqueue(NewJob(kind: "echo"))
        let stranger = try await bench.stranger()
        #expect(try await stranger.claim().count == 1)
        #expect(try await stranger.claim().isEmpty)
        try await bench.pool.transaction { connection in
            for _ in 0..<5 { try await bench.queue.enqueue(NewJob(kind: "echo"), on: connection) }
            try await bench.queue.enqueue(NewJob(kind: "echo", queue: "elsewhere"), on: connection)
        }
        #expect(try await stranger.claim().count == 5)
        try await bench.queue.enqueue(NewJob(kind: "echo"))
        try await bench.pool.query("select pg_notify('koppeling_job', 'end')")
        #expect(try await listener.notification().payload.isEmpty)
        #expect(try await listener.notification().payload == "end")
    }

    @Test func `without notifications the slow poll finds the work`() async throws {
        let options = Bench.options(slowPoll: .milliseconds(200), listens: false)
        try await bench.working([Does.always(.done())], options: options) { _ in
            try await untilIdle()
            let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
            try await eventually { try await bench.state(id) == "done" }
        }
    }
}

extension Int64 {
    fileprivate func expectOne() {
        #expect(self == 1)
    }
}
