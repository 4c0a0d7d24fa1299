import Foundation
import HTTPClient
import Postgres
import TestSupport
import Testing

@Suite("koppeling work", .database)
struct WorkCommandTests {
    private let pool = TestDatabase.current.pool

    private func startWorker(_ environment: [String: String] = [:]) throws -> RunningProgram {
        let key = ["KOPPELING_SECRET_KEY": Data(repeating: 7, count: 32).base64EncodedString()]
        return try RunningProgram(["work"], key.merging(environment) { _, given in given })
    }

    @Test func `shows its figures and its health where it is told to, and ends when it is told to`() async throws {
        let worker = try startWorker(["KOPPELING_METRICS_LISTEN": "127.0.0.1:0"])
        defer { worker.clean() }
        var port = ""
        try await eventually("it says where it listens", within: .seconds(30)) {
            port = try worker.errors().firstMatch(of: #/port=(\d+)/#).map { String($0.1) } ?? ""
            return !port.isEmpty
        }
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        let base = "http://127.0.0.1:\(port)"
        let ready = try await http.send(HTTPRequest(method: "GET", url: base + "/health/ready"))
        #expect(ready.status == 200)
        try await pool.query("select koppeling.enqueue('echo')")
        let line = #"koppeling_jobs_completed_total{kind="echo",outcome="done",queue="default"} 1"#
        try await eventually("the job is counted", within: .seconds(30)) {
            let answer = try await http.send(HTTPRequest(method: "GET", url: base + "/metrics"))
            return String(decoding: answer.body, as: UTF8.self).contains(line + "\n")
        }
        worker.process.terminate()
        try await eventually("it ends", within: .seconds(30)) { !worker.process.isRunning }
        #expect(worker.process.terminationStatus == 0)
    }

    @Test func `gives everything back at once when it is told twice to end`() async throws {
        // Evaluations wait for this table, so the job goes on for as long as the body does.
        try await pool.transaction { connection in
            try await connection.execute("lock table koppeling.evaluation_request in access exclusive mode")
            let worker = try startWorker()
            defer { worker.clean() }
            try await pool.query("select koppeling.enqueue('group.evaluate')")
            try await eventually("the job waits for the table", within: .seconds(30)) {
                try await pool.query(
                    """
                    select exists (select from pg_locks l
                                   where l.relation = 'koppeling.evaluation_request'::regclass and not l.granted)
                    """
                ).scalar(as: Bool.self)
            }
            worker.process.terminate()
            try await eventually("it stops", within: .seconds(30)) { try worker.errors().contains("told to stop") }
            worker.process.terminate()
            // Its grace period alone is 20 s.
            try await eventually("it ends", within: .seconds(15)) { !worker.process.isRunning }
            #expect(worker.process.terminationStatus == 0)
        }
        let job = try #require(try await pool.query("select state, attempt from koppeling.jobs").first)
        #expect(try job.decode("state", as: String.self) == "ready")
        #expect(try job.decode("attempt", as: Int32.self) == 0)
    }
}
