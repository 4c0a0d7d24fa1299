import IO
import JobQueue
import Logging
import Postgres
import ServiceLifecycle
import TestSupport
import Testing

@Suite(.database) struct ShutdownTests {
    let bench = Bench()

    /// A worker and its consumer as services of a group.
    private struct Consumer: Service {
        let worker: Worker
        let handler: Does

        func run() async throws {
            try await worker.consume(queue: "default", handlers: [handler], batch: 10)
        }
    }

    private func group(_ worker: Worker, _ handler: Does) -> ServiceGroup {
        ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [worker, Consumer(worker: worker, handler: handler)], logger: Bench.silent))
    }

    @Test func `a graceful shutdown lets running jobs finish and claims no more`() async throws {
        let first = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let mayFinish = Locked(false)
        let handler = Does { jobs, _ in
            while !mayFinish.withLock({ $0 }) && !Task.isCancelled { await Task.yield() }
            return jobs.all(Task.isCancelled ? .rejected(reason: "cancelled") : .done())
        }
        let group = group(bench.worker(), handler)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await eventually { try await bench.state(first) == "running" }
            await group.triggerGracefulShutdown()
            let second = try await bench.queue.enqueue(NewJob(kind: "echo"))
            mayFinish.withLock { $0 = true }
            try await tasks.waitForAll()
            #expect(try await bench.state(first) == "done")
            #expect(try await bench.state(second) == "ready")
        }
        #expect(try await bench.values("select state from koppeling.workers", as: String.self) == ["stopped"])
        #expect(try await bench.value("select count(*) from koppeling.consumer", as: Int64.self) == 0)
    }

    @Test func `what does not finish within the grace period is given back without burning an attempt`() async throws {
        let ids = try await bench.queue.enqueue(many: [NewJob(kind: "echo"), NewJob(kind: "echo")])
        let handler = Does { jobs, _ in
            try? await Task.sleep(for: .seconds(600))
            // One was finished all the same; the other was not begun.
            return [jobs[0].id: .done()]
        }
        let worker = bench.worker(Bench.options(gracePeriod: .milliseconds(50)))
        let group = group(worker, handler)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            try await eventually { try await bench.state(ids[1]) == "running" }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
        #expect(try await bench.state(ids[0]) == "done")
        #expect(try await bench.state(ids[1]) == "ready")
        #expect(try await bench.value("select attempt from koppeling.job", as: Int32.self) == 0)
        #expect(
            try await bench.value("select outcome from koppeling.job_attempt", as: String.self) == "released")
    }

    @Test func `a worker whose task is cancelled leaves nothing running`() async throws {
        try await bench.queue.enqueue(many: (0..<50).map { _ in NewJob(kind: "echo") })
        let handler = Does { jobs, _ in
            try await Task.sleep(for: .seconds(600))
            return jobs.all(.done())
        }
        try await bench.working([handler], batch: 10, concurrentBatches: 3) { _ in
            try await eventually {
                try await bench.value("select count(*) from koppeling.job where state = 'running'", as: Int64.self)
                    == 30
            }
        }
        #expect(
            try await bench.values("select distinct state || attempt from koppeling.jobs", as: String.self) == [
                "ready0"
            ]
        )
        #expect(try await bench.values("select state from koppeling.workers", as: String.self) == ["stopped"])
    }

    @Test func `consumers come and go while the worker runs`() async throws {
        let worker = bench.worker()
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try? await worker.run() }
            for round in 0..<3 {
                let queues = ["a", "b"].map { "\($0)\(round)" }
                let consumers = queues.map { queue in
                    Task { try await worker.consume(queue: queue, handlers: [Does.always(.done())]) }
                }
                var ids: [Int64] = []
                for queue in queues { ids.append(try await bench.queue.enqueue(NewJob(kind: "echo", queue: queue))) }
                for id in ids { try await eventually { try await bench.state(id) == "done" } }
                for consumer in consumers { consumer.cancel() }
                for consumer in consumers { _ = await consumer.result }
                #expect(try await bench.value("select count(*) from koppeling.consumer", as: Int64.self) == 0)
            }
            tasks.cancelAll()
        }
    }

    @Test func `a worker that has stopped takes nothing more`() async throws {
        let worker = bench.worker()
        let running = Task { try await worker.run() }
        _ = try await worker.id
        running.cancel()
        _ = await running.result
        try await worker.consume(queue: "default", handlers: [Does.always(.done())])
        await #expect(throws: JobQueueError.self) { try await worker.run() }
        await #expect(throws: JobQueueError.self) { _ = try await worker.id }
    }

    @Test func `handlers that share a kind, and consumers without one, are refused`() async throws {
        let worker = bench.worker()
        await #expect(throws: JobQueueError.self) {
            try await worker.consume(queue: "default", handlers: [Does.always(.done()), Does.always(.done())])
        }
        await #expect(throws: JobQueueError.self) { try await worker.consume(queue: "default", handlers: []) }
    }
}
