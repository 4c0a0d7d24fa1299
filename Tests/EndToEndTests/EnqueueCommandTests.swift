import Foundation
import Postgres
import TestSupport
import Testing

@Suite("koppeling enqueue", .database)
struct EnqueueCommandTests {
    private let pool = TestDatabase.current.pool

    private func count() async throws -> Int64 {
        try await pool.query("select count(*) from koppeling.job").scalar()
    }

    @Test func `takes every field of a job as an option`() async throws {
        let run = try await koppelingHere(
            "enqueue", "echo", "--args", "[1]", "--queue", "letters", "--key", "k", "--key-mode", "append",
            "--order-key", "o", "--limit-key", "l", "--run-at", "2199-01-01T00:00:00Z", "--priority", "-7",
            "--max-attempts", "3")
        #expect(run.code == 0, "\(run.errors)")
        let rows = try await pool.query(
            """
            select id, concat_ws(' ', kind, args, queue, key, key_mode, order_key, limit_key, priority, max_attempts,
                run_at at time zone 'UTC') as job
            from koppeling.job
            """)
        let row = try #require(rows.first)
        #expect(try row.decode("job", as: String.self) == "echo [1] letters k append o l -7 3 2199-01-01 00:00:00")
        #expect(run.lines == ["\(try row.decode("id", as: Int64.self))"])
    }

    @Test func `takes jobs from stdin, a line each, and says how many there were`() async throws {
        let lines = (0..<2_500).map { #"{"kind": "echo", "args": [\#($0)], "key": "\#($0)"}"# }
        let run = try await koppelingHere("enqueue", input: lines.joined(separator: "\n\n"))
        #expect(run.code == 0, "\(run.errors)")
        #expect(run.lines == ["2500"])
        #expect(try await count() == 2_500)
    }

    @Test(arguments: [
        (
            ["nonsense"],
            "kind: \"nonsense\" is unknown. The kinds that may be enqueued are the public ones of koppeling.job_kind. N"
        ),
        (["echo", "--args", "{"], "args: not JSON"),
        (["echo", "--args", #"["\u0000"]"#], "args: not JSON"),
        (["echo", "--args", "5"], "args: must be a JSON object or array"),
        (["echo", "--args", "[\"\(String(repeating: "x", count: 50_000))\"]", "--key", ""], "key: must have 1 to 500"),
        (["echo", "--run-at", "soon"], "run_at: \"soon\" is not a moment"),
        (["echo", "--priority", "10001"], "priority: must be from"),
        (["echo", "--max-attempts", "0"], "max_attempts: must be from 1"),
        (["echo", "--key-mode", "sometimes"], "key_mode: must be keep"),
        (["echo", "--queue", ""], "queue: must have"),
    ])
    func `names the field that is wrong and enqueues nothing`(arguments: [String], message: String) async throws {
        let url = try TestDatabase.current.settings.connectionString()
        let run = try await koppeling(["enqueue"] + arguments, ["DATABASE_URL": url])
        #expect(run.code == 1)
        #expect(run.errors.hasPrefix("koppeling: \(message)"), "\(run.errors)")
        #expect(try await count() == 0)
    }

    @Test(arguments: [
        (#"{"kind": "nonsense"}"#, "Line 3: kind: \"nonsense\" is unknown"),
        (#"{"args": []}"#, "Line 3: kind: is missing"),
        (#"{"kind": "echo", "colour": 1}"#, "Line 3: colour: is not a field of a job"),
        (#"{"kind": "echo", "args": 5}"#, "Line 3: args: must be a JSON object or array"),
        (
            #"{"kind": "echo", "args": ["\#(String(repeating: "x", count: 262_144))"]}"#,
            "Line 3: args: are 262148 bytes long, and may be 262144"
        ),
        (#"{"kind": "echo""#, "Line 3 is not JSON"),
        (#"{"kind": "\u0000"}"#, "Line 3 is not JSON"),
        ("5", "Line 3: must be a JSON object"),
    ])
    func `names the line and its field, and enqueues none of the lines`(line: String, message: String) async throws {
        let run = try await koppelingHere("enqueue", input: "{\"kind\": \"echo\"}\n\n\(line)\n{\"kind\": \"echo\"}\n")
        #expect(run.code == 1)
        #expect(run.errors.hasPrefix("koppeling: \(message)"), "\(run.errors.prefix(300))")
        #expect(run.errors.contains("Nothing was enqueued."))
        #expect(try await count() == 0)
    }

    @Test func `does not take options for jobs that come from stdin`() async throws {
        let run = try await koppelingHere("enqueue", "--queue", "letters", input: #"{"kind": "echo"}"#)
        #expect(run.code == 2)
        #expect(run.errors.contains("KIND is missing"), "\(run.errors)")
        #expect(try await count() == 0)
    }
}
