import IO
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct PauseTests {
    let bench = Bench()

    @Test func `what is paused does not start until it is resumed`() async throws {
        _ = try await bench.stranger(kinds: ["other"])
        let ids = try await bench.queue.enqueue(many: [
            NewJob(kind: "echo"), NewJob(kind: "echo", key: "k"), NewJob(kind: "echo", orderKey: "k"),
            NewJob(kind: "echo", limitKey: "k"), NewJob(kind: "other"), NewJob(kind: "echo", queue: "elsewhere"),
        ])
        let pauses: [(String, Set<Int64>)] = [
            ("queue => 'default'", Set(ids.prefix(5))), ("kind => 'echo'", Set(ids.prefix(4) + [ids[5]])),
            ("key => 'k'", Set(ids[1...3])), ("queue => 'default', kind => 'other'", [ids[4]]),
            ("kind => 'other', key => 'k'", []),
        ]
        for (pause, held) in pauses {
            try await bench.pool.query("select koppeling.pause(\(unsafe: pause), reason => 'test')")
            var claimed: Set<Int64> = []
            for queue in ["default", "elsewhere"] {
                let stranger = try await bench.stranger(kinds: ["echo", "other"], queue: queue)
                let jobs = try await stranger.claim()
                claimed.formUnion(jobs.map(\.id))
                for job in jobs { try await stranger.complete(job, "snooze", delay: 0) }
            }
            #expect(claimed == Set(ids).subtracting(held), "\(pause)")
            #expect(try await bench.value("select koppeling.resume(\(unsafe: pause))", as: Bool.self))
        }
        #expect(try await bench.value("select count(*) from koppeling.jobs where state = 'ready'", as: Int64.self) == 6)
    }

    @Test func `a waiting worker hears of the end of a pause`() async throws {
        try await bench.pool.query("select koppeling.pause(kind => 'echo')")
        let id = try await bench.queue.enqueue(NewJob(kind: "echo"))
        try await bench.working([Does.always(.done())]) { _ in
            try await eventually {
                try await bench.value("select bool_and(waiting) from koppeling.consumer", as: Bool?.self) == true
            }
            #expect(try await bench.state(id) == "ready")
            try await bench.pool.query("select koppeling.resume(kind => 'echo')")
            try await eventually { try await bench.state(id) == "done" }
        }
    }
}
