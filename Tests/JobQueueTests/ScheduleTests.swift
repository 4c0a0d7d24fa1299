import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct ScheduleTests {
    let bench = Bench()

    /// Stops the database's clock at this moment.
    private func stop(clockAt moment: String) async throws {
        try await bench.pool.script(
            """
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return '\(moment)'::timestamptz;
            """)
    }

    /// How many jobs were made.
    @discardableResult
    private func runDue() async throws -> Int64 {
        try await bench.value("select made from koppeling.run_due_schedules()")
    }

    /// The ticks for which there are jobs.
    private func ticks() async throws -> [String] {
        try await bench.values(
            "select to_char(run_at at time zone 'UTC', 'DD HH24:MI') from koppeling.jobs order by run_at, id")
    }

    private func next(_ name: String = "s") async throws -> String? {
        try await bench.value(
            """
            select to_char(next_at at time zone 'UTC', 'DD HH24:MI') from koppeling.schedules
            where name = \(name)::text
            """)
    }

    private func put(_ cron: String, missed: Schedule.Missed = .once) async throws {
        try await bench.queue.put(schedule: Schedule(name: "s", cron: cron, job: NewJob(kind: "echo"), missed: missed))
    }

    @Test func `a tick makes one job, however many workers look`() async throws {
        try await stop(clockAt: "2026-03-01 10:00:30Z")
        for number in 0..<3 {
            try await bench.queue.put(
                schedule: Schedule(name: "s\(number)", cron: "* * * * *", job: NewJob(kind: "echo")))
        }
        let crowd = Pool(bench.settings, maximum: 8)
        for minute in 1...5 {
            try await stop(clockAt: "2026-03-01 10:0\(minute):00Z")
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<24 {
                    group.addTask { try await crowd.query("select koppeling.run_due_schedules()") }
                }
                try await group.waitForAll()
            }
            // Whoever met another left the schedule to him; nothing is left undone.
            #expect(try await ticks().count == 3 * minute)
        }
        #expect(Set(try await ticks()) == ["01 10:01", "01 10:02", "01 10:03", "01 10:04", "01 10:05"])
        await crowd.close()
    }

    @Test func `a schedule that moves on without its job, or makes it without moving on, does not exist`() async throws
    {
        struct Abort: Error {}
        try await stop(clockAt: "2026-03-01 10:00:30Z")
        try await put("* * * * *")
        try await stop(clockAt: "2026-03-01 10:01:00Z")
        await #expect(throws: Abort.self) {
            try await bench.pool.transaction { connection in
                try await connection.query("select koppeling.run_due_schedules()")
                throw Abort()
            }
        }
        #expect(try await next() == "01 10:01")
        #expect(try await ticks().isEmpty)
        #expect(try await runDue() == 1)
        #expect(try await next() == "01 10:02")
        #expect(try await ticks() == ["01 10:01"])
    }

    @Test func `one job makes up for all missed ticks`() async throws {
        try await stop(clockAt: "2026-03-01 10:00:00Z")
        try await put("0 * * * *", missed: .once)
        try await stop(clockAt: "2026-03-03 15:30:00Z")
        #expect(try await runDue() == 1)
        #expect(try await runDue() == 0)
        #expect(try await ticks() == ["01 11:00"])
        #expect(try await next() == "03 16:00")
    }

    @Test func `missed ticks are skipped, and one that is a minute old is not missed`() async throws {
        try await stop(clockAt: "2026-03-01 10:00:00Z")
        try await put("0 * * * *", missed: .skip)
        try await stop(clockAt: "2026-03-01 11:00:59Z")
        #expect(try await runDue() == 1)
        try await stop(clockAt: "2026-03-01 12:01:01Z")
        #expect(try await runDue() == 0)
        #expect(try await next() == "01 13:00")
        // Of many missed ones the last is in time.
        try await stop(clockAt: "2026-03-01 18:00:30Z")
        #expect(try await runDue() == 1)
        #expect(try await ticks() == ["01 11:00", "01 18:00"])
        #expect(try await next() == "01 19:00")
    }

    @Test func `a schedule that is put again keeps its next tick, and its pause`() async throws {
        try await stop(clockAt: "2026-03-01 10:30:00Z")
        try await put("0 * * * *")
        // A program that starts late must not lose the tick by putting its schedules.
        try await stop(clockAt: "2026-03-01 11:30:00Z")
        try await put("0 * * * *")
        #expect(try await next() == "01 11:00")
        try await put("15 * * * *")
        #expect(try await next() == "01 12:15")
        #expect(try await bench.queue.pause(schedule: "s"))
        try await put("20 * * * *")
        #expect(try await next() == nil)
        #expect(try await bench.queue.schedule("s")?.schedule.cron == "20 * * * *")
    }

    @Test func `a paused schedule makes no jobs, and what it would have made is not missed`() async throws {
        try await stop(clockAt: "2026-03-01 10:30:00Z")
        try await put("0 * * * *")
        #expect(try await bench.queue.pause(schedule: "s"))
        try await stop(clockAt: "2026-03-01 12:30:00Z")
        #expect(try await runDue() == 0)
        #expect(try await bench.queue.resume(schedule: "s"))
        #expect(try await next() == "01 13:00")
        #expect(try await runDue() == 0)
        #expect(try await !bench.queue.pause(schedule: "unknown"))
        #expect(try await !bench.queue.resume(schedule: "unknown"))
    }

    @Test func `a schedule can be run by hand, and removed`() async throws {
        try await stop(clockAt: "2026-03-01 10:30:00Z")
        try await put("0 * * * *")
        let id = try await bench.queue.run(schedule: "s")
        #expect(try await bench.state(id) == "ready")
        #expect(try await next() == "01 11:00")
        #expect(try await bench.queue.schedule("s")?.lastJob == id)
        #expect(try await bench.queue.remove(schedule: "s"))
        #expect(try await !bench.queue.remove(schedule: "s"))
        #expect(try await bench.state(id) == "ready")
        let error = await #expect(throws: PostgresError.self) { try await bench.queue.run(schedule: "s") }
        #expect(error?.message.contains(#"name: there is no schedule "s""#) == true)
    }

    @Test func `what is put is what is listed, and what its jobs are`() async throws {
        let job = NewJob(
            kind: "echo", args: #"[1]"#, queue: "q", key: "k", keyMode: .append, orderKey: "o", limitKey: "l",
            priority: 3, maxAttempts: 7)
        let schedule = Schedule(
            name: "b", cron: "@daily", timeZone: "Europe/Amsterdam", job: job, missed: .skip)
        try await stop(clockAt: "2026-03-01 10:30:00Z")
        let tick = try await bench.queue.put(schedule: schedule)
        #expect(tick == Date(timeIntervalSince1970: 1_772_406_000))
        try await bench.queue.put(schedule: Schedule(name: "a", cron: "@daily", job: NewJob(kind: "echo")))
        let listed = try await bench.queue.schedules()
        #expect(listed.map(\.schedule.name) == ["a", "b"])
        #expect(listed[1].schedule == schedule)
        #expect(listed[1].nextAt == tick)
        #expect(try await bench.queue.schedules(after: "a", limit: 5).map(\.schedule.name) == ["b"])
        try await stop(clockAt: "2026-03-01 23:00:00Z")
        #expect(try await runDue() == 1)
        #expect(
            try await bench.value(
                """
                select concat_ws(' ', kind, args, queue, key, key_mode, order_key, limit_key, priority, max_attempts)
                from koppeling.job
                """, as: String.self) == "echo [1] q k append o l 3 7")
        #expect(try await bench.queue.schedule("b")?.lastAt == tick)
    }

    @Test func `one that cannot be enqueued says why, and holds up no other`() async throws {
        try await bench.pool.execute("insert into koppeling.job_kind (kind) values ('gone')")
        try await stop(clockAt: "2026-03-01 10:30:00Z")
        try await put("0 * * * *")
        try await bench.queue.put(schedule: Schedule(name: "bad", cron: "0 * * * *", job: NewJob(kind: "gone")))
        try await bench.pool.execute("delete from koppeling.job_kind where kind = 'gone'")
        try await stop(clockAt: "2026-03-01 11:00:00Z")
        #expect(try await runDue() == 1)
        #expect(try await bench.queue.schedule("bad")?.error == #"kind: "gone" is unknown"#)
        #expect(try await next("bad") == "01 12:00")
        #expect(try await next() == "01 12:00")
    }

    static let faults: [(call: String, state: String, says: String)] = [
        ("put_schedule('', '@daily', 'echo')", "22023", "name: must have 1 to 200"),
        ("put_schedule(null, '@daily', 'echo')", "22023", "name: must have 1 to 200"),
        ("put_schedule('s', null, 'echo')", "22023", "cron: is missing"),
        ("put_schedule('s', '0 25 * * *', 'echo')", "22023", "cron: the hour \"25\""),
        ("put_schedule('s', '@daily', 'echo', time_zone => 'Mars')", "22023", "time_zone: \"Mars\""),
        ("put_schedule('s', '@daily', 'nonsense')", "22023", "kind: \"nonsense\" is unknown"),
        ("put_schedule('s', '@daily', null)", "22023", "kind: is missing"),
        ("put_schedule('s', '@daily', 'echo', missed => 'all')", "22023", "missed: must be skip or once, not \"all\""),
        ("put_schedule('s', '@daily', 'echo', '3')", "22023", "args: must be a JSON object"),
        ("put_schedule('s', '@daily', 'echo', key_mode => 'append')", "22023", "key_mode: append needs a key"),
        ("put_schedule('s', '@daily', 'inner', public_only => true)", "42501", "kind: \"inner\" is internal"),
        ("put_schedule('own', '@daily', 'echo', public_only => true)", "42501", "kind: \"inner\" is internal"),
        ("remove_schedule('own', true)", "42501", "kind: \"inner\" is internal"),
        ("put_schedule_object('s', '[]')", "22023", "must be a JSON object"),
        ("put_schedule_object('s', '{\"cron\": 1}')", "22023", "cron: must be a string, not 1"),
        ("put_schedule_object('s', '{\"paused\": 1}')", "22023", "paused: must be true or false, not 1"),
        ("put_schedule_object('s', '{\"run_at\": null}')", "22023", "run_at: is not a field of a schedule"),
        ("put_schedule_object('s', '{\"zone\": \"UTC\"}')", "22023", "zone: is not a field of a schedule"),
        ("put_schedule_object('s', '{\"priority\": \"1\"}')", "22023", "priority: must be a whole number"),
        ("next_ticks('@daily', count => 0)", "22023", "count: must be from 1 to 1000"),
        ("next_tick('@daily', 'UTC', 'infinity')", "22023", "after: must be a moment"),
    ]

    @Test func `what is wrong is refused with its name, and nothing is put`() async throws {
        try await bench.pool.execute("insert into koppeling.job_kind (kind) values ('inner')")
        try await bench.queue.put(schedule: Schedule(name: "own", cron: "@daily", job: NewJob(kind: "inner")))
        for fault in Self.faults {
            let error = await #expect(throws: PostgresError.self, "\(fault.call)") {
                try await bench.pool.query("select koppeling.\(unsafe: fault.call)")
            }
            #expect(error?.sqlState == fault.state, "\(fault.call)")
            #expect(error?.message.contains(fault.says) == true, "\(error?.message ?? "")")
        }
        #expect(try await bench.queue.schedules().map(\.schedule.job.kind) == ["inner"])
    }

    /// With a slow poll of a minute: it was told of the schedule, and woke for the tick by itself.
    @Test func `a worker enqueues a job when its tick comes`() async throws {
        let handled = Record<Int64>()
        let handler = Does { jobs, _ in
            jobs.forEach { handled.add($0.id) }
            return jobs.all(.done())
        }
        // So that the next minute begins in two seconds.
        let ahead: Double = try await bench.value("select 58 - extract(second from clock_timestamp())::float8")
        try await bench.jump(.seconds(ahead))
        try await bench.working([handler]) { _ in
            try await eventually {
                try await bench.value("select exists (select from koppeling.consumer where waiting)", as: Bool.self)
            }
            try await put("* * * * *")
            try await eventually("the tick", within: .seconds(8)) { handled.count == 1 }
        }
        #expect(
            try await bench.value(
                """
                select started_at between run_at and run_at + interval '1 second' and run_at = date_trunc('minute', run_at)
                from koppeling.jobs
                """, as: Bool.self), "it starts within a second of the tick")
    }

    @Test func `several workers make one job a tick`() async throws {
        try await stop(clockAt: "2026-03-01 10:00:30Z")
        try await put("* * * * *")
        // Nobody says that the clock is moved: the slow poll sees it.
        let options = Bench.options(heartbeat: .seconds(1), slowPoll: .milliseconds(20), listens: false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                let worker = bench.worker(options)
                group.addTask { try? await worker.run() }
            }
            for minute in 1...5 {
                try await stop(clockAt: "2026-03-01 10:0\(minute):00Z")
                try await eventually { try await ticks().count == minute }
            }
            group.cancelAll()
        }
        #expect(try await ticks() == ["01 10:01", "01 10:02", "01 10:03", "01 10:04", "01 10:05"])
    }

    @Test func `a reader sees schedules, and a writer does not make them`() async throws {
        try await bench.pool.withConnection { connection in
            try await connection.query("set role koppeling_reader")
            try await connection.query("select * from koppeling.schedules")
            await #expect(throws: PostgresError.self) {
                try await connection.query("select * from koppeling.job_schedule")
            }
            try await connection.query("set role koppeling_writer")
            let calls = [
                "put_schedule('s', '@daily', 'echo')", "remove_schedule('s')", "pause_schedule('s')",
                "run_schedule('s')", "run_due_schedules()",
            ]
            for call in calls {
                let error = await #expect(throws: PostgresError.self, "\(call)") {
                    try await connection.query("select koppeling.\(unsafe: call)")
                }
                #expect(error?.sqlState == "42501")
            }
            try await connection.query("reset role")
        }
    }
}
