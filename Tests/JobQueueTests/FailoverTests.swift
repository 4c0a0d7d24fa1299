import FoundationEssentials
import IO
import JobQueue
import Postgres
import TestSupport
import Testing

/// A primary and its standby, and workers that know both.
@Suite(.timeLimit(.minutes(10))) struct FailoverTests {
    /// Runs two workers that write into a ledger what they do, while somebody enqueues numbers without end.
    private func working(
        on replicas: Replicas, _ body: (Pool, _ enqueued: Record<Int64>) async throws -> Void
    ) async throws {
        let pool = Pool(replicas.settings, maximum: 8)
        try await pool.script("create table ledger (job_id bigint, number int)")
        let handler = Does { jobs, context in
            try await pool.transaction { connection in
                let held = try await context.complete(jobs.all(.done()), on: connection)
                for job in jobs where held.contains(job.id) {
                    let number = try job.args.decode([Int].self)[0]
                    try await connection.execute("insert into ledger values (\(job.id)::bigint, \(Int32(number))::int)")
                }
            }
            return [:]
        }
        let enqueued = Record<Int64>()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...2 {
                let worker = Worker(
                    pool: pool, options: Bench.options(name: "worker \(number)"), logger: Bench.silent)
                group.addTask { try? await worker.run() }
                group.addTask {
                    try? await worker.consume(queue: "default", handlers: [handler], batch: 5, concurrentBatches: 2)
                }
            }
            group.addTask {
                var number = 0
                while !Task.isCancelled {
                    // What was not confirmed is enqueued again, and may then be there twice.
                    if let id = try? await JobQueue(pool: pool).enqueue(
                        NewJob(kind: "echo", args: JSONText("[\(number)]")))
                    {
                        enqueued.add(id)
                        number += 1
                    }
                    try? await Task.sleep(for: .milliseconds(5))
                }
            }
            defer { group.cancelAll() }
            try await body(pool, enqueued)
        }
        await pool.close()
    }

    private func grow(_ enqueued: Record<Int64>, by count: Int = 50) async throws {
        let goal = enqueued.count + count
        try await eventually("more jobs", within: .seconds(120)) { enqueued.count >= goal }
    }

    /// Everything that was confirmed has been done, and nothing twice.
    private func expectAllDone(_ enqueued: [Int64], on pool: Pool) async throws {
        try await eventually("every job that was confirmed", within: .seconds(60)) {
            try await pool.query(
                """
                select count(*) from unnest(\(enqueued)::bigint[]) as e (id)
                where not exists (select from ledger l where l.job_id = e.id)
                """
            ).scalar(as: Int64.self) == 0
        }
        let twice = try await pool.query("select job_id from ledger group by job_id having count(*) > 1")
        #expect(twice.isEmpty)
    }

    @Test func `workers find the new primary after a crash, and lose nothing`() async throws {
        try await Replicas.with { replicas in
            try await working(on: replicas) { pool, enqueued in
                try await grow(enqueued)
                await replicas.stopPrimary()
                try await replicas.promote()
                try await grow(enqueued)
                try await expectAllDone(enqueued.all, on: pool)
                #expect(try await pool.query("show data_directory").scalar(as: String.self).contains("-2/"))
            }
        }
    }

    @Test func `workers leave a primary that lives on and only takes no more writes`() async throws {
        try await Replicas.with { replicas in
            try await working(on: replicas) { pool, enqueued in
                try await grow(enqueued)
                let admin = try await Connection.connect(replicas.primary)
                try await admin.query("alter system set default_transaction_read_only = on")
                try await admin.query("select pg_reload_conf()")
                try await eventually("the new setting") {
                    let newcomer = try await Connection.connect(replicas.primary)
                    return try await newcomer.query("show default_transaction_read_only").scalar() == "on"
                }
                // Whatever began to write before has to end first, or its commit would wait for the standby for ever.
                let since: Date = try await admin.query("select clock_timestamp()").scalar()
                try await eventually("the end of the last write") {
                    try await admin.query(
                        """
                        select from pg_stat_activity
                        where backend_type = 'client backend' and pid <> pg_backend_pid()
                            and xact_start < \(since)::timestamptz
                        """
                    ).isEmpty
                }
                try await replicas.promote()
                try await grow(enqueued)
                try await expectAllDone(enqueued.all, on: pool)
                try await eventually("that nobody is left there", within: .seconds(30)) {
                    try await admin.query(
                        """
                        select from pg_stat_activity
                        where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name = 'koppeling'
                        """
                    ).isEmpty
                }
            }
        }
    }
}
