import IO
import JobQueue
import Logging
import Postgres
import TestSupport

/// What the tests of the queue do again and again on the database of the running test.
struct Bench: Sendable {
    let pool = TestDatabase.current.pool
    let settings = TestDatabase.current.settings
    var queue: JobQueue { JobQueue(pool: pool) }

    /// A logger that says nothing.
    static let silent = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }

    /// Options of a worker that beats often, and that looks only when it is told to.
    static func options(
        name: String = "worker", heartbeat: Duration = .milliseconds(50), slowPoll: Duration = .seconds(60),
        gracePeriod: Duration = .seconds(10), listens: Bool = true
    ) -> Worker.Options {
        Worker.Options(
            name: name, heartbeat: heartbeat, slowPoll: slowPoll, gracePeriod: gracePeriod, listens: listens)
    }

    func worker(_ options: Worker.Options = options()) -> Worker {
        Worker(pool: pool, options: options, logger: Self.silent)
    }

    /// Runs a worker with these handlers while the body runs, then cancels it.
    func working<Value: Sendable>(
        _ handlers: [any JobHandler], queue: String = "default", options: Worker.Options = options(),
        batch: Int = 100, concurrentBatches: Int = 1, _ body: (Worker) async throws -> Value
    ) async throws -> Value {
        let worker = worker(options)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await worker.run() }
            group.addTask {
                try? await worker.consume(
                    queue: queue, handlers: handlers, batch: batch, concurrentBatches: concurrentBatches)
            }
            defer { group.cancelAll() }
            _ = try await worker.id
            return try await body(worker)
        }
    }

    /// Sets the database's clock so far ahead.
    func jump(_ ahead: Duration) async throws {
        let seconds = ahead / .seconds(1)
        try await pool.script(
            """
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return clock_timestamp() + make_interval(secs => \(seconds));
            """)
    }

    /// Stops the database's clock, so many seconds after it was stopped first.
    func freeze(at seconds: Double = 0) async throws {
        try await pool.script(
            """
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return timestamptz '2026-05-31 12:00Z' + make_interval(secs => \(seconds));
            """)
    }

    func value<Value: PostgresDecodable & Sendable>(_ query: Query, as: Value.Type = Value.self) async throws -> Value {
        let rows = try await pool.query(query)
        guard let row = rows.first else { throw Missing() }
        return try row.decode(0)
    }

    func values<Value: PostgresDecodable & Sendable>(
        _ query: Query, as: Value.Type = Value.self
    ) async throws -> [Value] {
        try await pool.query(query).map { try $0.decode(0) }
    }

    func state(_ job: Int64) async throws -> String {
        try await value("select state from koppeling.jobs where id = \(job)::bigint")
    }

    struct Missing: Error {}

    /// A worker and a consumer that exist only in the database, to claim and complete by hand.
    func stranger(
        _ name: String = "stranger", kinds: [String] = ["echo"], queue: String = "default"
    ) async throws -> Stranger {
        let worker: Int64 = try await value("select koppeling.register_worker(\(name)::text, 'host', 1, '1')")
        let consumer: Int64 = try await value(
            "select koppeling.register_consumer(\(worker)::bigint, \(queue)::text, \(kinds)::text[])")
        return Stranger(pool: pool, worker: worker, consumer: consumer)
    }
}

struct Stranger: Sendable {
    let pool: Pool
    let worker: Int64
    let consumer: Int64

    func claim(
        _ limit: Int32 = 100, suspects: Bool = false, alone: Bool = false
    ) async throws -> [(id: Int64, claim: Int32)] {
        try await pool.query(
            """
            select id, claim
            from koppeling.claim_jobs(\(worker)::bigint, \(consumer)::bigint, \(limit)::int, p_suspects => \(suspects),
                p_alone => \(alone))
            """
        ).map { (try $0.decode("id"), try $0.decode("claim")) }
    }

    /// Makes the worker look dead, and lets another find it so.
    func die(found nurse: Stranger) async throws {
        try await pool.execute(
            """
            update koppeling.worker set heartbeat_at = heartbeat_at - interval '1 minute' where id = \(worker)::bigint
            """)
        try await pool.query("select koppeling.beat(\(nurse.worker)::bigint, '15 seconds')")
    }

    @discardableResult
    func complete(
        _ job: (id: Int64, claim: Int32), _ outcome: String = "done", note: String? = nil, delay: Double? = nil
    ) async throws -> Bool {
        let rows = try await pool.query(
            """
            select koppeling.complete_jobs(\(worker)::bigint, array[\(job.id)::bigint], array[\(job.claim)::int],
                array[\(outcome)::text], array[\(note)::text], array[\(delay)::float8]) as ids
            """)
        return try rows.first?.decode("ids", as: [Int64].self) == [job.id]
    }
}

/// A handler made of a closure.
struct Does: JobHandler {
    let kinds: Set<String>
    let body: @Sendable ([Job], JobContext) async throws -> [Int64: Outcome]

    init(
        _ kinds: Set<String> = ["echo"],
        _ body: @escaping @Sendable ([Job], JobContext) async throws -> [Int64: Outcome]
    ) {
        self.kinds = kinds
        self.body = body
    }

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        try await body(jobs, context)
    }

    /// Says the same of every job.
    static func always(_ outcome: Outcome) -> Does {
        Does { jobs, _ in jobs.all(outcome) }
    }
}

extension [Job] {
    func all(_ outcome: Outcome) -> [Int64: Outcome] {
        Dictionary(uniqueKeysWithValues: map { ($0.id, outcome) })
    }
}

/// A list that handlers write and tests read.
final class Record<Element: Sendable>: Sendable {
    private let elements = Locked<[Element]>([])

    func add(_ element: Element) {
        elements.withLock { $0.append(element) }
    }

    var all: [Element] { elements.withLock { $0 } }
    var count: Int { all.count }
}
