import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct EnqueueTests {
    let bench = Bench()

    @Test func `a job that is enqueued waits with the defaults of the queue`() async throws {
        let id: Int64 = try await bench.value("select koppeling.enqueue('echo')")
        let row = try #require(
            try await bench.pool.query("select * from koppeling.jobs where id = \(id)::bigint").first)
        #expect(try row.decode("state", as: String.self) == "ready")
        #expect(try row.decode("queue", as: String.self) == "default")
        #expect(try row.decode("args", as: JSONText.self) == "{}")
        #expect(try row.decode("max_attempts", as: Int32.self) == 20)
    }

    @Test func `an enqueued job exists exactly when the caller's transaction is committed`() async throws {
        struct Abort: Error {}
        await #expect(throws: Abort.self) {
            try await bench.pool.transaction { connection in
                try await bench.queue.enqueue(NewJob(kind: "echo"), on: connection)
                throw Abort()
            }
        }
        #expect(try await bench.value("select count(*) from koppeling.job", as: Int64.self) == 0)
    }

    static let faults: [(sql: String, state: String, says: String)] = [
        ("koppeling.enqueue('nonsense')", "22023", "kind: \"nonsense\" is unknown"),
        ("koppeling.enqueue(null)", "22023", "kind: is missing"),
        ("koppeling.enqueue('echo', '3')", "22023", "args: must be a JSON object or array"),
        ("koppeling.enqueue('echo', to_jsonb(array[repeat('x', 262144)]))", "22023", "args: are 262148 bytes long"),
        ("koppeling.enqueue('echo', queue => '')", "22023", "queue: must have"),
        ("koppeling.enqueue('echo', key => '')", "22023", "key: must have"),
        ("koppeling.enqueue('echo', key => 'a', key_mode => 'join')", "22023", "key_mode: must be keep"),
        ("koppeling.enqueue('echo', key => 'a', key_mode => 'append')", "22023", "args: must be a JSON array"),
        ("koppeling.enqueue('echo', '[]', key_mode => 'append')", "22023", "key_mode: append needs a key"),
        ("koppeling.enqueue('echo', max_attempts => 0)", "22023", "max_attempts: must be from 1"),
        ("koppeling.enqueue('echo', priority => 20000)", "22023", "priority: must be from"),
        ("koppeling.enqueue('echo', run_at => '-infinity')", "22023", "run_at: must be a moment"),
        ("koppeling.enqueue_many('{}')", "22023", "jobs: must be a JSON array"),
        ("koppeling.enqueue_many('[{\"kind\": \"echo\"}, 7]')", "22023", "jobs[1]: must be a JSON object"),
        ("koppeling.enqueue_many('[{\"kind\": 1}]')", "22023", "jobs[0].kind: must be a string"),
        ("koppeling.enqueue_many('[{\"kind\": \"echo\", \"prio\": 1}]')", "22023", "jobs[0].prio: is not a field"),
        ("koppeling.enqueue_many('[{\"kind\": \"echo\", \"priority\": 1.5}]')", "22023", "jobs[0].priority: must be"),
        ("koppeling.enqueue_many('[{\"kind\": \"echo\", \"run_at\": \"soon\"}]')", "22023", "jobs[0].run_at: \"soon\""),
        (
            "koppeling.enqueue_many('[{\"kind\": \"echo\"}, {\"kind\": \"x\"}]')", "22023",
            "jobs[1].kind: \"x\" is unknown"
        ),
        ("koppeling.enqueue_many('[{\"kind\": \"echo\", \"args\": \"x\"}]')", "22023", "jobs[0].args: must be a JSON"),
    ]

    @Test func `what is wrong is refused with its name, and nothing is enqueued`() async throws {
        for fault in Self.faults {
            let error = await #expect(throws: PostgresError.self, "\(fault.sql)") {
                try await bench.pool.query("select \(unsafe: fault.sql)")
            }
            #expect(error?.sqlState == fault.state)
            #expect(error?.message.contains(fault.says) == true, "\(error?.message ?? "")")
        }
        #expect(try await bench.value("select count(*) from koppeling.job", as: Int64.self) == 0)
    }

    @Test func `a kind of the system's own is not open to the outside`() async throws {
        try await bench.pool.execute("insert into koppeling.job_kind (kind, public) values ('inner', false)")
        let error = await #expect(throws: PostgresError.self) {
            try await bench.pool.query("select koppeling.enqueue('inner')")
        }
        #expect(error?.sqlState == "42501")
        await #expect(throws: PostgresError.self) {
            try await bench.queue.enqueue(NewJob(kind: "inner"), publicOnly: true)
        }
        let id = try await bench.queue.enqueue(NewJob(kind: "inner"))
        #expect(try await bench.state(id) == "ready")
    }

    @Test func `many jobs come in with one call, in their order`() async throws {
        let later = Date(timeIntervalSinceReferenceDate: 900_000_000)
        let ids = try await bench.queue.enqueue(many: [
            NewJob(kind: "echo", args: #"{"n": 1}"#, priority: 3),
            NewJob(kind: "echo", args: #"[2]"#, queue: "other", key: "k", runAt: later),
            NewJob(kind: "echo", runAt: .distantFuture),
        ])
        #expect(ids == ids.sorted() && Set(ids).count == 3)
        #expect(
            try await bench.values("select args::text from koppeling.job order by id", as: String.self)
                == [#"{"n": 1}"#, "[2]", "{}"])
        #expect(try await bench.state(ids[2]) == "parked")
        #expect(
            try await bench.value("select run_at from koppeling.job where id = \(ids[1])::bigint", as: Date.self)
                == later)
        #expect(try await bench.value("select koppeling.enqueue_many('[]')", as: Int64.self) == 0)
        #expect(
            try await bench.value(
                "select koppeling.enqueue_many('[{\"kind\": \"echo\"}, {\"kind\": \"echo\", \"key\": null}]')",
                as: Int64.self) == 2)
    }

    @Test func `a reader sees the views, a writer may enqueue, and neither more`() async throws {
        try await bench.queue.enqueue(NewJob(kind: "echo"))
        func attempt(_ role: String, _ statement: String) async throws -> Bool {
            let result = try await bench.pool.withConnection { connection -> Bool in
                try await connection.query("set role \(identifier: role)")
                do {
                    try await connection.query("\(unsafe: statement)")
                    try await connection.query("reset role")
                    return true
                } catch let error as PostgresError {
                    try await connection.query("reset role")
                    guard error.sqlState == "42501" else { throw error }
                    return false
                }
            }
            return result
        }
        for view in ["jobs", "job_attempts", "queue_status", "workers"] {
            #expect(try await attempt("koppeling_reader", "select * from koppeling.\(view)"))
            #expect(try await !attempt("koppeling_writer", "select * from koppeling.\(view)"))
        }
        for table in ["job", "job_history", "job_attempt", "worker", "consumer", "permit", "permit_budget"] {
            #expect(try await !attempt("koppeling_reader", "select * from koppeling.\(table)"))
            #expect(try await !attempt("koppeling_writer", "select * from koppeling.\(table)"))
        }
        let calls = ["enqueue('echo')", "enqueue_many('[{\"kind\": \"echo\"}]')", "enqueue_each('[]')"]
        for call in calls {
            #expect(try await attempt("koppeling_writer", "select koppeling.\(call)"))
            #expect(try await !attempt("koppeling_reader", "select koppeling.\(call)"))
        }
        let inner = ["enqueue_internal('echo')", "cancel_job(1)", "retry_job(1)", "throttle('x')", "stop_worker(1)"]
        for call in inner {
            #expect(try await !attempt("koppeling_writer", "select koppeling.\(call)"))
        }
    }
}
