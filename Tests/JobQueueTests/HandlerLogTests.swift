import IO
import JobQueue
import Logging
import Postgres
import TestSupport
import Testing

@Suite("What a handler logs", .database) struct HandlerLogTests {
    let bench = Bench()
    let log = JobLog()

    @Test func `names the job and the attempt on every line of one job, whatever logger it uses`() async throws {
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", args: #"{"secret": "sanne@example.org"}"#))
        let own = log.logger
        let handler = Does { jobs, context in
            own.info("a logger of its own")
            await withDiscardingTaskGroup { group in group.addTask { own.info("a child task") } }
            context.logger.info("the context's logger")
            return jobs.all(jobs[0].attempt == 1 ? .retry(after: .zero, error: "again") : .done())
        }
        try await working(handler) { try await bench.state(id) == "done" }
        for message in ["a logger of its own", "a child task", "the context's logger"] {
            let lines = log.lines.filter { $0.message == message }
            #expect(lines.map { $0.metadata["attempt"] } == ["1", "2"], "\(message)")
            for line in lines {
                #expect(line.metadata["job"] == "\(id)")
                #expect(line.metadata["queue"] == "default")
                #expect(line.metadata["kind"] == "echo")
            }
        }
        #expect(log.lines.allSatisfy { !"\($0)".contains("sanne") })
    }

    @Test func `names the numbers of a batch, and one job where the handler says so`() async throws {
        let ids = try await bench.queue.enqueue(many: (0..<3).map { _ in NewJob(kind: "echo") })
        let own = log.logger
        let handler = Does { jobs, context in
            own.info("all")
            for job in jobs {
                await context.working(on: job) { own.info("one") }
                context.logger(for: job).info("one by the context's logger")
            }
            return jobs.all(.done())
        }
        try await working(handler) { try await bench.state(ids[2]) == "done" }
        let all = try #require(log.lines.first { $0.message == "all" })
        #expect(all.metadata["jobs"] == "\(ids[0])-\(ids[2])")
        #expect(all.metadata["count"] == "3")
        for message in ["one", "one by the context's logger"] {
            let lines = log.lines.filter { $0.message == message }
            #expect(lines.map { $0.metadata["job"] } == ids.map { "\($0)" }, "\(message)")
            #expect(lines.allSatisfy { $0.metadata["attempt"] == "1" })
        }
    }

    @Test func `names the job that failed, and leaves what the error says to the database`() async throws {
        struct Mishap: Error { var about = "sanne@example.org" }
        let id = try await bench.queue.enqueue(NewJob(kind: "echo", maxAttempts: 1))
        try await working(Does { _, _ in throw Mishap() }) { try await bench.state(id) == "rejected" }
        let line = try #require(log.lines.first { $0.message == "a handler failed" })
        #expect(line.metadata["job"] == "\(id)")
        #expect(line.metadata["error"] == "Mishap")
        #expect(log.lines.filter { $0.level >= .info }.allSatisfy { !"\($0)".contains("sanne") })
    }

    @Test func `names the one job that a handler of single jobs has, also when it fails`() async throws {
        struct Single: SingleJobHandler {
            let own: Logger
            var kinds: Set<String> { ["echo"] }

            struct Mishap: Error {}

            func run(_ job: Job, _ context: JobContext) async throws -> Outcome {
                own.info("one")
                throw Mishap()
            }
        }
        let ids = try await bench.queue.enqueue(many: (0..<3).map { _ in NewJob(kind: "echo", maxAttempts: 1) })
        try await working(Single(own: log.logger)) {
            try await bench.value("select count(*) from koppeling.jobs where state = 'rejected'", as: Int64.self) == 3
        }
        for message in ["one", "a handler failed"] {
            let named = log.lines.filter { $0.message == message }.map { $0.metadata["job"] ?? "" }
            #expect(Set(named) == Set(ids.map { "\($0)" }), "\(message)")
        }
    }

    private func working(_ handler: any JobHandler, until condition: () async throws -> Bool) async throws {
        let worker = Worker(pool: bench.pool, options: Bench.options(), logger: log.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await worker.run() }
            group.addTask { try? await worker.consume(queue: "default", handlers: [handler]) }
            defer { group.cancelAll() }
            try await eventually { try await condition() }
        }
    }
}

/// Everything that was logged, with what the provider for jobs adds.
final class JobLog: Sendable {
    struct Line: Sendable {
        var level: Logger.Level
        var message: String
        var metadata: [String: String]
    }

    private let written = Locked<[Line]>([])

    var lines: [Line] { written.withLock { $0 } }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .trace
        return logger
    }

    private struct Handler: LogHandler {
        let log: JobLog
        var metadata: Logger.Metadata = [:]
        var metadataProvider: Logger.MetadataProvider? = .jobs
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let all = metadata.merging(metadataProvider?.get() ?? [:]) { $1 }.merging(event.metadata ?? [:]) { $1 }
            let line = Line(level: event.level, message: "\(event.message)", metadata: all.mapValues { "\($0)" })
            log.written.withLock { $0.append(line) }
        }
    }
}
