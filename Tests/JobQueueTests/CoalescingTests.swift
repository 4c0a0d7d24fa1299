import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct CoalescingTests {
    let bench = Bench()

    private func enqueue(
        _ args: JSONText, _ mode: NewJob.KeyMode, priority: Int = 0, queue: String = "default"
    ) async throws -> Int64 {
        try await bench.queue.enqueue(
            NewJob(kind: "echo", args: args, queue: queue, key: "k", keyMode: mode, priority: priority))
    }

    private func args(_ id: Int64) async throws -> String {
        try await bench.value("select args::text from koppeling.job where id = \(id)::bigint")
    }

    @Test func `with keep the waiting job stays as it is`() async throws {
        let first = try await enqueue("[1]", .keep)
        #expect(try await enqueue("[2]", .keep) == first)
        #expect(try await args(first) == "[1]")
        #expect(try await enqueue("[2]", .keep, queue: "other") != first)
    }

    @Test func `with replace the waiting job takes over what is new, and the more urgent priority stays`() async throws
    {
        let first = try await enqueue("[1]", .replace, priority: -3)
        #expect(try await enqueue("[2]", .replace, priority: 5) == first)
        #expect(try await args(first) == "[2]")
        #expect(try await bench.value("select priority from koppeling.job", as: Int32.self) == -3)
    }

    @Test func `with append the args are joined in their order`() async throws {
        let first = try await enqueue("[1]", .append)
        #expect(try await enqueue("[2, 3]", .append) == first)
        #expect(try await args(first) == "[1, 2, 3]")
    }

    @Test func `a running job absorbs nothing`() async throws {
        let first = try await enqueue("[1]", .replace)
        _ = try await bench.stranger().claim()
        let second = try await enqueue("[2]", .replace)
        #expect(second != first)
        #expect(try await bench.state(first) == "running")
        #expect(try await bench.state(second) == "ready")
    }

    @Test(arguments: [NewJob.KeyMode.keep, .replace, .append])
    func `eight connections at once leave one waiting job`(_ mode: NewJob.KeyMode) async throws {
        let pool = Pool(bench.settings, maximum: 8)
        let queue = JobQueue(pool: pool)
        let ids = try await withThrowingTaskGroup(of: [Int64].self) { group in
            for connection in 0..<8 {
                group.addTask {
                    var ids: [Int64] = []
                    for round in 0..<20 {
                        // Singly and in bulk, with other keys around it in different orders.
                        let job = NewJob(
                            kind: "echo", args: JSONText("[\(connection * 100 + round)]"), key: "k", keyMode: mode)
                        var other = job
                        other.key = "k\(connection % 3)"
                        if round.isMultiple(of: 2) {
                            ids.append(try await queue.enqueue(job))
                        } else {
                            let list = connection.isMultiple(of: 2) ? [other, job] : [job, other]
                            let place = connection.isMultiple(of: 2) ? 1 : 0
                            ids.append(try await queue.enqueue(many: list)[place])
                        }
                    }
                    return ids
                }
            }
            return try await group.reduce(into: Set<Int64>()) { $0.formUnion($1) }
        }
        #expect(ids.count == 1)
        #expect(try await bench.value("select count(*) from koppeling.job where key = 'k'", as: Int64.self) == 1)
        if mode == .append {
            #expect(
                try await bench.value(
                    "select jsonb_array_length(args)::bigint from koppeling.job where key = 'k'", as: Int64.self) == 160
            )
        }
        await pool.close()
    }

    @Test(arguments: [NewJob.KeyMode.keep, .replace, .append])
    func `who enqueues and who puts back never wait for each other in a circle`(_ mode: NewJob.KeyMode) async throws {
        let pool = Pool(bench.settings, maximum: 4)
        let queue = JobQueue(pool: pool)
        let handler = Does { jobs, _ in
            jobs.reduce(into: [:]) { $0[$1.id] = $1.claim < 3 ? .retry(after: .zero, error: "again") : .done() }
        }
        try await bench.working([handler], batch: 7, concurrentBatches: 3) { _ in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for caller in 0..<4 {
                    group.addTask {
                        for round in 0..<40 {
                            let keys = (0..<10).map { "\(($0 * (caller + 1) + round) % 11)" }
                            try await queue.enqueue(
                                many: keys.map {
                                    NewJob(kind: "echo", args: "[1]", key: $0, keyMode: mode, orderKey: $0)
                                })
                        }
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("all jobs", within: .seconds(30)) {
                try await bench.value("select count(*) from koppeling.job", as: Int64.self) == 0
            }
        }
        await pool.close()
        // The worker repeats what met a deadlock; what a session met is counted for sure when it has ended.
        try await eventually("the sessions have ended") {
            try await bench.value(
                """
                select not exists (select from pg_stat_activity
                                   where datname = current_database() and pid <> pg_backend_pid()
                                     and backend_type = 'client backend' and state <> 'idle')
                """)
        }
        #expect(
            try await bench.value(
                "select deadlocks from pg_stat_database where datname = current_database()", as: Int64.self) == 0)
    }

    @Test(
        arguments: [
            (NewJob.KeyMode.keep, "[1]"), (.replace, "[3]"), (.append, "[1, 2, 3]"),
        ])
    func `entries of one call with the same key become one job`(_ mode: NewJob.KeyMode, _ expected: String) async throws
    {
        let jobs = ["[1]", "[2]", "[3]"].map {
            NewJob(kind: "echo", args: JSONText($0), key: "k", keyMode: mode)
        }
        let ids = try await bench.queue.enqueue(many: [jobs[0], NewJob(kind: "echo"), jobs[1], jobs[2]])
        #expect(ids[0] == ids[2] && ids[2] == ids[3] && ids[1] != ids[0])
        #expect(try await args(ids[0]) == expected)
        #expect(try await bench.value("select count(*) from koppeling.job", as: Int64.self) == 2)
    }

    @Test func `a job that absorbed another does not start before that one's transaction has ended`() async throws {
        let first = try await enqueue("[1]", .keep)
        let stranger = try await bench.stranger()
        try await bench.pool.transaction { connection in
            let id = try await bench.queue.enqueue(
                NewJob(kind: "echo", args: "[2]", key: "k"), on: connection)
            #expect(id == first)
            #expect(try await stranger.claim().isEmpty)
        }
        #expect(try await stranger.claim().map(\.id) == [first])
    }

    @Test(
        arguments: [
            (NewJob.KeyMode.keep, "[2]"), (.replace, "[2]"), (.append, "[1, 2]"),
        ])
    func `a job that goes back folds into the one that waits`(_ mode: NewJob.KeyMode, _ expected: String) async throws {
        let first = try await enqueue("[1]", mode)
        let stranger = try await bench.stranger()
        let claimed = try #require(try await stranger.claim().first)
        let second = try await enqueue("[2]", mode)
        #expect(try await stranger.complete(claimed, "retry", note: "no luck", delay: 3600))
        #expect(try await args(second) == expected)
        #expect(try await bench.state(second) == "ready")
        #expect(try await bench.state(first) == "cancelled")
        #expect(
            try await bench.value(
                "select reason from koppeling.job_history where id = \(first)::bigint", as: String.self)
                == "folded into job \(second) after: no luck")
        #expect(try await stranger.claim().map(\.id) == [second])
    }

    @Test(
        arguments: [
            (NewJob.KeyMode.keep, "[1]"), (.replace, "[2]"), (.append, "[1, 2]"),
        ])
    func `of two that ran beside each other the newer one's args last, whichever comes back first`(
        _ mode: NewJob.KeyMode, _ expected: String
    ) async throws {
        let stranger = try await bench.stranger()
        let first = try await enqueue("[1]", mode)
        let older = try #require(try await stranger.claim().first)
        _ = try await enqueue("[2]", mode)
        let newer = try #require(try await stranger.claim().first)
        try await stranger.complete(older, "retry", delay: 0)
        try await stranger.complete(newer, "retry", delay: 0)
        #expect(try await args(first) == expected)
        #expect(try await bench.values("select id from koppeling.job", as: Int64.self) == [first])
    }

    @Test func `a retry that is due earlier makes the one it folds into due, unless that one replaces it`() async throws
    {
        for mode in [NewJob.KeyMode.keep, .replace] {
            let stranger = try await bench.stranger()
            _ = try await enqueue("[1]", mode)
            let claimed = try #require(try await stranger.claim().first)
            let parked = NewJob(kind: "echo", args: "[2]", key: "k", keyMode: mode, runAt: .distantFuture)
            let second = try await bench.queue.enqueue(parked)
            #expect(try await stranger.complete(claimed, "snooze", delay: 0))
            #expect(try await bench.state(second) == (mode == .keep ? "ready" : "parked"))
            try await bench.pool.execute("delete from koppeling.job")
        }
    }
}
