import Foundation
import HTTPClient
import Postgres
import TestSupport
import Testing

@Suite("koppeling work", .database)
struct WorkCommandTests {
    private let pool = TestDatabase.current.pool

    @Test func `shows its figures and its health where it is told to, and ends when it is told to`() async throws {
        let log = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try Data().write(to: log)
        defer { try? FileManager.default.removeItem(at: log) }
        let process = program(
            ["work"],
            [
                "DATABASE_URL": try TestDatabase.current.settings.connectionString(),
                "KOPPELING_SECRET_KEY": Data(repeating: 7, count: 32).base64EncodedString(),
                "KOPPELING_METRICS_LISTEN": "127.0.0.1:0",
            ])
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = try FileHandle(forWritingTo: log)
        try process.run()
        defer { if process.isRunning { process.interrupt() } }

        var port = ""
        try await eventually("it says where it listens", within: .seconds(30)) {
            let text = String(decoding: try Data(contentsOf: log), as: UTF8.self)
            port = text.firstMatch(of: #/port=(\d+)/#).map { String($0.1) } ?? ""
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
        process.terminate()
        try await eventually("it ends", within: .seconds(30)) { !process.isRunning }
        #expect(process.terminationStatus == 0)
    }

    @Test func `ends at once when it is told twice`() async throws {
        let process = program(
            ["work"],
            [
                "DATABASE_URL": try TestDatabase.current.settings.connectionString(),
                "KOPPELING_SECRET_KEY": Data(repeating: 7, count: 32).base64EncodedString(),
            ])
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        // Evaluations wait for this table, so the job goes on for as long as the body does.
        try await pool.transaction { connection in
            try await connection.execute("lock table koppeling.target_group in access exclusive mode")
            try process.run()
            try await pool.query("select koppeling.enqueue('group.evaluate')")
            try await eventually("the job runs", within: .seconds(30)) {
                try await pool.query("select exists (select from koppeling.jobs where state = 'running')")
                    .scalar(as: Bool.self)
            }
            process.terminate()
            try await eventually("it stops", within: .seconds(5)) {
                try await pool.query("select not exists (select from koppeling.consumer where waiting)")
                    .scalar(as: Bool.self)
            }
            process.terminate()
            // Its grace period alone is 20 s.
            try await eventually("it ends", within: .seconds(12)) { !process.isRunning }
        }
        #expect(process.terminationStatus == 0)
    }
}
