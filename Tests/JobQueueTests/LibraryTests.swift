import FoundationEssentials
import JobQueue
import JobQueueTesting
import Postgres
import TestSupport
import Testing

@Suite(.database) struct LibraryTests {
    let bench = Bench()

    @Test func `the example of the testing article passes`() async throws {
        try await bench.pool.execute("insert into koppeling.job_kind (kind) values ('welcome')")
        try await theNewcomerIsWelcomed(bench.queue)
    }

    @Test func `the example of a program works until it is told to stop`() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            let url = try bench.settings.connectionString()
            group.addTask { try? await work(url: url, logger: Bench.silent) }
            try await eventually {
                try await bench.value("select count(*) from koppeling.jobs where state = 'done'", as: Int64.self) == 1
            }
            group.cancelAll()
        }
    }

    @Test func `the articles show the code that is compiled`() throws {
        let tests = URL(filePath: #filePath).deletingLastPathComponent()
        let articles = tests.deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Sources/JobQueue/JobQueue.docc").path
        func read(_ path: String) throws -> String {
            String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
        }
        let compiled = try read(tests.appending(path: "LibraryExample.swift").path)
        var blocks = 0
        for name in try FileManager.default.contentsOfDirectory(atPath: articles) where name.hasSuffix(".md") {
            for block in try read(articles + "/" + name).split(separator: "```swift\n").dropFirst() {
                let code = try #require(block.split(separator: "```").first)
                #expect(compiled.contains(code), "\(name) shows other code")
                blocks += 1
            }
        }
        #expect(blocks >= 3)
    }

    @Test func `what is due is run to its end, and the rest stays`() async throws {
        try await bench.pool.execute("insert into koppeling.job_kind (kind) values ('other')")
        let queue = bench.queue
        let first = try await queue.enqueue(NewJob(kind: "echo", args: "[0]", orderKey: "o"))
        let second = try await queue.enqueue(NewJob(kind: "echo", args: "[1]", orderKey: "o"))
        let later = try await queue.enqueue(NewJob(kind: "echo", runAt: Date(timeIntervalSinceNow: 3600)))
        let other = try await queue.enqueue(NewJob(kind: "other"))
        let handler = Does { jobs, _ in
            var outcomes: [Int64: Outcome] = [:]
            for job in jobs {
                switch (job.id, job.claim) {
                case (first, 1): outcomes[first] = .retry(after: .zero, error: "once")
                case (first, 2):
                    try await queue.enqueue(NewJob(kind: "echo", args: "[2]"))
                    outcomes[first] = .done("[42]")
                case (second, _): outcomes[second] = .rejected(reason: "no")
                default: outcomes[job.id] = .snooze(.seconds(3600))
                }
            }
            return outcomes
        }
        let runs = try await queue.runDueJobs(with: [handler])
        #expect(runs.filter { $0.id == first }.map(\.outcome) == ["retried", "done"])
        #expect(runs.filter { $0.id == first }.map(\.error) == ["once", nil])
        #expect(runs.filter { $0.id == first }.map(\.result) == [nil, "[42]"])
        #expect(runs.filter { $0.id == second }.map(\.outcome) == ["rejected"])
        #expect(runs.filter { $0.args == "[2]" }.map(\.outcome) == ["snoozed"])
        #expect(runs.count == 4)
        #expect(try await queue.enqueued(kind: "echo").map(\.state) == ["scheduled", "scheduled"])
        #expect(try await queue.enqueued().first?.id == later)
        #expect(try await queue.expectEnqueued(kind: "other").id == other)
    }

    @Test func `work that does not end is given up`() async throws {
        try await bench.queue.enqueue(NewJob(kind: "echo"))
        let handler = Does { jobs, _ in jobs.all(.snooze(.zero)) }
        await #expect(throws: JobQueueTestFailure.self) {
            try await bench.queue.runDueJobs(with: [handler], within: .milliseconds(300))
        }
    }

    @Test func `an expectation that is not met says what there is`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", args: #"{"a": 1}"#, key: "k"))
        let missing = await #expect(throws: JobQueueTestFailure.self) {
            try await bench.queue.expectEnqueued(kind: "echo", key: "other")
        }
        #expect(
            missing?.description == """
                one such job of kind echo should be enqueued, not 0: there are
                job \(id): echo {"a": 1} in queue default, ready, key k
                """)
        let present = await #expect(throws: JobQueueTestFailure.self) {
            try await bench.queue.expectNotEnqueued(kind: "echo") { $0.key == "k" }
        }
        #expect(present?.description.contains("job \(id)") == true)
        try await bench.queue.expectNotEnqueued(kind: "echo") { $0.key == "other" }
    }
}
