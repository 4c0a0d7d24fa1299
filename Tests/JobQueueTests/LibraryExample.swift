// What the articles of the library show; a test sees to it that they show just this.
import JobQueue
import JobQueueTesting
import Logging
import Postgres
import ServiceLifecycle
import Testing

// From GettingStarted.
struct Welcome: SingleJobHandler {
    var kinds: Set<String> { ["welcome"] }

    func run(_ job: Job, _ context: JobContext) async throws -> Outcome {
        let person = try job.args.decode([String: String].self)["person"] ?? "whoever you are"
        context.logger.debug("welcome, \(person)")
        return .done()
    }
}

func work(url: String, logger: Logger) async throws {
    let pool = Pool(ConnectionSettings(url: url))
    try await pool.withConnection { _ = try await Migrator.locate().migrate($0) }

    let queue = JobQueue(pool: pool)
    try await pool.transaction { connection in
        try await connection.execute("insert into koppeling.job_kind (kind) values ('welcome') on conflict do nothing")
        try await queue.enqueue(NewJob(kind: "welcome", args: #"{"person": "Ada"}"#), on: connection)
    }

    let worker = Worker(pool: pool, logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await worker.run() }
        group.addTask { try await worker.consume(queue: "default", handlers: [Welcome()]) }
        try await group.waitForAll()
    }
}

// From Testing.
func theNewcomerIsWelcomed(_ queue: JobQueue) async throws {
    try await queue.enqueue(NewJob(kind: "welcome", args: #"{"person": "Ada"}"#, key: "Ada"))
    try await queue.expectEnqueued(kind: "welcome", key: "Ada")

    let runs = try await queue.runDueJobs(with: [Welcome()])
    #expect(runs.map(\.outcome) == ["done"])
    try await queue.expectNotEnqueued(kind: "welcome")
}
