import FoundationEssentials
import IO
import JobQueue
import Postgres
import TestSupport
import Testing

/// The queue through a pooler that lends sessions by the transaction.
@Suite(.database) struct PoolerTests {
    let bench = Bench()

    /// Two workers, jobs of some order keys, a handler that completes in its own transaction, a retry, a death.
    private func work(through settings: ConnectionSettings, listening: ConnectionSettings?) async throws {
        let pool = Pool(settings, maximum: 6)
        let queue = JobQueue(pool: pool)
        let keys = 7
        let each = 20
        let begun = Record<(key: String, number: Int)>()
        try await bench.pool.script("create table ledger (job_id bigint)")
        let handler = Does { jobs, context in
            for job in jobs where job.attempt == 1 {
                begun.add((job.orderKey ?? "", try job.args.decode([Int].self)[0]))
            }
            try await pool.transaction { connection in
                let held = try await context.complete(jobs.all(.done()), on: connection)
                try await connection.execute("insert into ledger select unnest(\(held.sorted())::bigint[])")
            }
            return [:]
        }
        let victim = try await bench.stranger("victim")
        let lost = try await queue.enqueue(NewJob(kind: "echo", args: "[0]", orderKey: "lost"))
        #expect(try await victim.claim().map(\.id) == [lost])
        try await bench.pool.execute(
            "update koppeling.worker set heartbeat_at = heartbeat_at - interval '1 hour' where id = \(victim.worker)::bigint"
        )
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                // With a slow poll of a minute: where nobody can listen it looks more often by itself.
                let worker = Worker(
                    pool: pool, listenSettings: listening, options: Bench.options(), logger: Bench.silent)
                group.addTask { try? await worker.run() }
                group.addTask {
                    try? await worker.consume(queue: "default", handlers: [handler], batch: 5, concurrentBatches: 2)
                }
            }
            for number in 0..<each {
                try await queue.enqueue(
                    many: (0..<keys).map { NewJob(kind: "echo", args: JSONText("[\(number)]"), orderKey: "o\($0)") })
            }
            try await eventually("every job", within: .seconds(60)) {
                try await bench.value("select count(*) from ledger", as: Int64.self) == Int64(keys * each + 1)
            }
            // Idle by now, so this one has to wake somebody.
            try await eventually("idleness") {
                try await bench.value("select count(*) from koppeling.consumer where waiting", as: Int64.self) == 4
            }
            let last = try await queue.enqueue(NewJob(kind: "echo", args: "[0]", orderKey: "last"))
            try await eventually("the last job") { try await bench.state(last) == "done" }
            group.cancelAll()
        }
        for key in 0..<keys {
            let numbers = begun.all.filter { $0.key == "o\(key)" }.map(\.number)
            #expect(numbers == Array(0..<each))
        }
        #expect(
            try await bench.value("select count(distinct job_id) = count(*) from ledger", as: Bool.self),
            "a job was completed twice")
        #expect(try await bench.state(lost) == "done")
        await pool.close()
    }

    @Test(arguments: Pooling.available)
    func `workers that only look do everything`(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { try await work(through: $0, listening: nil) }
    }

    @Test(arguments: Pooling.available)
    func `workers that listen at the server itself are told of work`(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { try await work(through: $0, listening: bench.settings) }
    }

    @Test(arguments: Pooling.available)
    func `sessions that the server ends under the pooler lose no job and keep none`(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { settings in
            let pool = Pool(settings, maximum: 6)
            let queue = JobQueue(pool: pool)
            let worker = Worker(pool: pool, options: Bench.options(), logger: Bench.silent)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try? await worker.run() }
                group.addTask {
                    try? await worker.consume(
                        queue: "default", handlers: [Does.always(.done())], batch: 5, concurrentBatches: 2)
                }
                let admin = try await Connection.connect(bench.settings)
                var enqueued: [Int64] = []
                for _ in 0..<10 {
                    while true {
                        // What is not confirmed may be there all the same, and is done as well.
                        guard let ids = try? await queue.enqueue(many: (0..<30).map { _ in NewJob(kind: "echo") })
                        else { continue }
                        enqueued += ids
                        break
                    }
                    try await admin.query(
                        """
                        select pg_terminate_backend(pid) from pg_stat_activity
                        where datname = current_database() and pid <> pg_backend_pid()
                        """)
                }
                try await eventually("every job", within: .seconds(60)) {
                    try await admin.query("select from koppeling.job").isEmpty
                }
                let done = try await admin.query("select id from koppeling.job_history where outcome = 'done'").map {
                    try $0.decode("id", as: Int64.self)
                }
                #expect(Set(enqueued).subtracting(done).isEmpty)
                group.cancelAll()
            }
            await pool.close()
        }
    }

    @Test(arguments: Pooling.available)
    func `permits and single jobs work too`(_ pooling: Pooling) async throws {
        try await withPooler(pooling) { settings in
            let pool = Pool(settings, maximum: 4)
            let queue = JobQueue(pool: pool)
            let worker = Worker(pool: pool, options: Bench.options(), logger: Bench.silent)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try? await worker.run() }
                let permits = Permits(pool: pool, worker: worker)
                try await permits.setBudget(1, of: "thing")
                let inside = Locked((now: 0, most: 0))
                try await withThrowingTaskGroup(of: Void.self) { holders in
                    for _ in 0..<5 {
                        holders.addTask {
                            try await permits.withPermit("thing", holder: "one") {
                                inside.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
                                await Task.yield()
                                inside.withLock { $0.now -= 1 }
                            }
                        }
                    }
                    try await holders.waitForAll()
                }
                #expect(inside.withLock { $0.most } == 1)
                let id = try await queue.enqueue(NewJob(kind: "echo", key: "k", runAt: .distantFuture))
                #expect(try await queue.enqueue(NewJob(kind: "echo", key: "k")) == id)
                #expect(try await queue.cancel(id, reason: "not wanted"))
                #expect(try await queue.retry(id) > 0)
                group.cancelAll()
            }
            await pool.close()
        }
    }
}
