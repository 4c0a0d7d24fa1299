import FoundationEssentials
import IO
import JobQueue
import Postgres
import TestSupport
import Testing

/// One release takes over from another while both work.
@Suite(.database) struct DeployTests {
    let bench = Bench()

    /// What the next release might bring: a column, a function, and new bodies of those that all workers call.
    private static let next = """
        -- What the next release brings.
        alter table koppeling.job add column note text;
        create function koppeling.next_greeting() returns text language sql return 'hello';
        do $do$
        declare
            v_function regprocedure;
        begin
            for v_function in
                select p.oid from pg_proc p
                where p.pronamespace = 'koppeling'::regnamespace
                    and p.proname in ('claim_jobs', 'complete_jobs', 'look_for_work', 'beat', 'enqueue_internal')
            loop
                execute replace(pg_get_functiondef(v_function), 'AS $function$', E'AS $function$\\n-- By the next release.\\n');
            end loop;
        end
        $do$;
        """

    /// Runs a worker until the body ends; each of its jobs goes into the ledger under the worker's name.
    private func worker(_ name: String, greeting: String, _ body: () async throws -> Void) async throws {
        let handler = Does { jobs, context in
            try await bench.pool.transaction { connection in
                let held = try await context.complete(jobs.all(.done()), on: connection)
                try await connection.execute(
                    "insert into ledger select id, \(name)::text, \(unsafe: greeting) from unnest(\(held.sorted())::bigint[]) as id"
                )
            }
            return [:]
        }
        try await bench.working([handler], options: Bench.options(name: name), batch: 5, concurrentBatches: 2) { _ in
            try await body()
        }
    }

    private func progress(of name: String) async throws {
        let query: Query = "select count(*) from ledger where worker = \(name)::text"
        let before = try await bench.value(query, as: Int64.self)
        try await eventually("work of \(name)", within: .seconds(30)) {
            try await bench.value(query, as: Int64.self) > before + 20
        }
    }

    @Test func `workers of two releases share the work while the schema is migrated`() async throws {
        let own = try Migrator.locate()
        let folder = "/tmp/koppeling-next-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for file in try FileManager.default.contentsOfDirectory(atPath: own.directory) {
            try FileManager.default.copyItem(atPath: "\(own.directory)/\(file)", toPath: "\(folder)/\(file)")
        }
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data(Self.next.utf8).write(to: URL(filePath: folder + "/9001_next.sql"))
        let newer = Migrator(directory: folder)
        try await bench.pool.script("create table ledger (job_id bigint, worker text, greeting text)")
        let enqueued = Record<Int64>()
        let queue = bench.queue
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    guard let ids = try? await queue.enqueue(many: (0..<5).map { _ in NewJob(kind: "echo") }) else {
                        continue
                    }
                    for id in ids { enqueued.add(id) }
                    try? await Task.sleep(for: .milliseconds(5))
                }
            }
            try await worker("old", greeting: "null") {
                try await progress(of: "old")
                let migrating = try await Connection.connect(bench.settings)
                let applied = try await newer.migrate(migrating)
                #expect(applied == ["9001_next.sql"])
                try await newer.check(migrating)
                try await worker("next", greeting: "koppeling.next_greeting()") {
                    try await progress(of: "next")
                    try await progress(of: "old")
                }
            }
            // The old one once more, as after a crash: it finds a schema that it does not know, and may go on.
            let restarted = try await Connection.connect(bench.settings)
            try await own.check(restarted)
            #expect(try await own.migrate(restarted) == [])
            try await worker("old again", greeting: "null") {
                try await progress(of: "old again")
                group.cancelAll()
                try await eventually("every job", within: .seconds(30)) {
                    try await bench.value("select count(*) from koppeling.job", as: Int64.self) == 0
                }
            }
        }
        let done = try await bench.values("select job_id from ledger", as: Int64.self)
        #expect(done.count == Set(done).count)
        #expect(Set(enqueued.all).subtracting(done).isEmpty)
        #expect(
            try await bench.value(
                "select count(*) from koppeling.job_history where outcome <> 'done' or attempt > 1", as: Int64.self)
                == 0)
    }
}
