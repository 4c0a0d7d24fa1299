import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite("Limits, pauses and retries from Swift", .database) struct HoldsTests {
    let bench = Bench()

    @Test func `a limit is set, changed and removed`() async throws {
        try await bench.queue.setLimit("mail", concurrency: 3, rate: (jobs: 10, per: .milliseconds(1_500)))
        let both: String = try await bench.value(
            "select concat_ws(' ', concurrency, rate, extract(epoch from period)::float8) from koppeling.limits")
        #expect(both == "3 10 1.5")
        try await bench.queue.setLimit("mail", concurrency: 4)
        let one: String = try await bench.value(
            "select concat_ws(' ', concurrency, rate, period) from koppeling.limits")
        #expect(one == "4")
        let wrong = await #expect(throws: PostgresError.self) { try await bench.queue.setLimit("mail") }
        #expect(wrong?.message.hasPrefix("concurrency: ") == true)
        #expect(try await bench.queue.removeLimit("mail"))
        #expect(try await !bench.queue.removeLimit("mail"))
    }

    @Test func `a paused kind waits until it is resumed`() async throws {
        try await bench.queue.pause(kind: "echo", reason: "a test")
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        let other = try await bench.queue.enqueue(NewJob(kind: "instance.pull"))
        try await bench.working([Does.always(.done()), Does(["instance.pull"]) { jobs, _ in jobs.all(.done()) }]) { _ in
            try await eventually { try await bench.state(other) == "done" }
            #expect(try await bench.state(id) == "ready")
            #expect(try await !bench.queue.resume(queue: "default", kind: "echo"))
            #expect(try await bench.queue.resume(kind: "echo"))
            try await eventually { try await bench.state(id) == "done" }
        }
    }

    @Test func `rejected jobs that match are run again, the oldest first`() async throws {
        let stranger = try await bench.stranger()
        let ids = try await bench.queue.enqueue(many: (0..<4).map { NewJob(kind: "echo", args: JSONText("[\($0)]")) })
        for (index, job) in try await stranger.claim().enumerated() {
            try await stranger.complete(job, "rejected", note: index == 1 ? "too long" : "no such list")
        }
        #expect(try await bench.queue.retryRejected(reason: "SUCH", until: .distantPast) == 0)
        #expect(try await bench.queue.retryRejected(reason: "SUCH", since: .distantPast, atMost: 2) == 2)
        var states: [String] = []
        for id in ids { states.append(try await bench.state(id)) }
        #expect(states == ["ready", "rejected", "ready", "rejected"])
        #expect(try await bench.queue.retryRejected(queue: "default", kind: "echo") == 2)
    }
}
