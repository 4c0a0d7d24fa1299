import IO
import JobQueue
import Postgres
import TestSupport
import Testing

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
