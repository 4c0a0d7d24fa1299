import HTTPClient
import IO
import JobQueue
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("What a worker measures", .database)
struct WorkerMetricsTests {
    private let pool = TestDatabase.current.pool

    /// Does with a job what its args say.
    private struct Obedient: JobHandler {
        let pool: Pool
        var kinds: Set<String> { ["echo"] }

        struct Undo: Error {}

        func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
            var outcomes: [Int64: Outcome] = [:]
            for job in jobs {
                switch try job.args.decode([String].self)[0] {
                case "retry": outcomes[job.id] = .retry(after: .seconds(3_600), error: "not now")
                case "snooze": outcomes[job.id] = .snooze(.seconds(3_600))
                case "reject": outcomes[job.id] = .rejected(reason: "never")
                case "cancel": outcomes[job.id] = .cancelled(reason: "not wanted")
                case "complete":
                    try await pool.transaction { _ = try await context.complete([job.id: .done()], on: $0) }
                case "undo":
                    try? await pool.transaction { connection in
                        _ = try await context.complete([job.id: .done()], on: connection)
                        throw Undo()
                    }
                    outcomes[job.id] = .snooze(.seconds(3_600))
                case "lose":
                    try await pool.execute("update koppeling.job set claim = claim + 1 where id = \(job.id)")
                    outcomes[job.id] = .done()
                default: outcomes[job.id] = .done()
                }
            }
            return outcomes
        }
    }

    /// Runs a worker and its monitor, and hands the body what reads the monitor.
    private func withMonitor(_ body: (@escaping @Sendable (String) async throws -> HTTPResponse) async throws -> Void)
        async throws
    {
        let log = CapturedLog()
        let registry = PrometheusRegistry()
        let worker = Worker(pool: pool, metrics: registry, logger: log.logger)
        let monitor = Monitor(pool: pool, host: "127.0.0.1", port: 0, metrics: registry, logger: log.logger)
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        let pool = pool
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await monitor.run() }
            group.addTask { try await worker.run() }
            group.addTask { try await worker.consume(queue: "letters", handlers: [Obedient(pool: pool)]) }
            let port = try await monitor.boundPort()
            try await body { path in
                try await http.send(HTTPRequest(method: "GET", url: "http://127.0.0.1:\(port)\(path)"))
            }
            group.cancelAll()
            while await group.nextResult() != nil {}
        }
    }

    @Test func everyOutcomeIsCountedAndEveryJobTimed() async throws {
        let asked = [
            "do", "do", "retry", "snooze", "reject", "cancel", "complete", "undo", "lose",
        ]
        let queue = JobQueue(pool: pool)
        try await queue.enqueue(
            many: asked.map { NewJob(kind: "echo", args: JSONText("[\"\($0)\"]"), queue: "letters") } + [
                NewJob(kind: "echo", args: #"["retry"]"#, queue: "letters", maxAttempts: 1)
            ])
        try await withMonitor { get in
            let labels = #"kind="echo",queue="letters""#
            try await eventually {
                try await get("/metrics").text.contains("koppeling_job_run_seconds_count{\(labels)} 10\n")
            }
            let text = try await get("/metrics").text
            for (outcome, count) in [
                ("done", 3), ("retry", 1), ("snooze", 2), ("rejected", 2), ("cancelled", 1), ("released", 0),
                ("lost", 1),
            ] {
                let line =
                    "koppeling_jobs_completed_total{kind=\"echo\",outcome=\"\(outcome)\",queue=\"letters\"} \(count)\n"
                #expect(text.contains(line), "\(outcome)")
            }
            #expect(text.contains("koppeling_jobs_started_total{\(labels)} 10\n"))
            #expect(text.contains("# TYPE koppeling_job_wait_seconds histogram\n"))
            #expect(text.contains("koppeling_job_wait_seconds_count{\(labels)} 10\n"))
            #expect(text.contains("koppeling_job_wait_seconds_bucket{\(labels),le=\"+Inf\"} 10\n"))
        }
    }

    @Test func theWaitCountsFromTheMomentAJobMayRun() async throws {
        try await pool.query(
            """
            select koppeling.enqueue('echo', '["do"]', queue => 'letters', run_at => koppeling.now() - interval '1 day')
            """)
        try await pool.query("select koppeling.enqueue('echo', '[\"do\"]', queue => 'letters')")
        // Enqueued at once, due since an hour.
        try await pool.execute(
            "update koppeling.job set enqueued_at = koppeling.now() - interval '2 hours', run_at = koppeling.now() - interval '1 hour' where id = 2"
        )
        try await withMonitor { get in
            let labels = #"kind="echo",queue="letters""#
            try await eventually {
                try await get("/metrics").text.contains("koppeling_job_run_seconds_count{\(labels)} 2\n")
            }
            let text = try await get("/metrics").text
            // A time in the past is no wait: the job was not there yet.
            #expect(text.contains("koppeling_job_wait_seconds_bucket{\(labels),le=\"600\"} 1\n"))
            #expect(text.contains("koppeling_job_wait_seconds_bucket{\(labels),le=\"3600\"} 1\n"))
            #expect(text.contains("koppeling_job_wait_seconds_bucket{\(labels),le=\"21600\"} 2\n"))
        }
    }

    @Test func aMonitorTellsOfHealthAndLeavesTheQueueToTheServiceCenter() async throws {
        try await withMonitor { get in
            let live = try await get("/health/live")
            #expect(live.status == 200)
            let ready = try await get("/health/ready")
            #expect(ready.status == 200)
            let metrics = try await get("/metrics")
            #expect(metrics.header("content-type")?.hasPrefix("text/plain; version=0.0.4") == true)
            #expect(!metrics.text.contains("koppeling_queue_jobs"))
            let elsewhere = try await get("/api/v1/jobs")
            #expect(elsewhere.status == 404)
        }
    }
}
