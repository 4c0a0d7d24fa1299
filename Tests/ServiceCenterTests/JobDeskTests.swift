import Foundation
import HTTPClient
import JobQueue
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Jobs over HTTP", .database)
struct JobDeskTests {
    private let pool = TestDatabase.current.pool
    private var queue: JobQueue { JobQueue(pool: pool) }

    private func token(_ rights: Set<TokenRight> = [.read, .operate]) async throws -> String {
        try await APITokens(pool: pool).create(name: "operator", rights: rights)
    }

    private func state(_ id: Int64) async throws -> String {
        try await pool.query("select state from koppeling.jobs where id = \(id)").scalar()
    }

    /// Jobs that are finished as rejected, with these reasons.
    private func reject(_ reasons: [String], queue name: String = "default") async throws -> [Int64] {
        let ids = try await queue.enqueue(many: reasons.map { _ in NewJob(kind: "echo", queue: name) })
        for (id, reason) in zip(ids, reasons) {
            _ = try await queue.cancel(id, reason: reason)
            try await pool.execute("update koppeling.job_history set outcome = 'rejected' where id = \(id)")
        }
        return ids
    }

    private struct Page: Decodable {
        struct Job: Decodable {
            var id: Int64
            var state: String
            var key: String?
        }
        var jobs: [Job]
        var next: Int64?
    }

    @Test func areListedAPageAtATimeTheNewestFirst() async throws {
        let ids = try await queue.enqueue(many: (0..<25).map { NewJob(kind: "echo", key: "k\($0)") })
        // Some have moved to the history.
        for id in ids[5..<15] { _ = try await queue.cancel(id, reason: "enough") }
        let token = try await token()
        try await withServiceCenter { door in
            var seen: [Int64] = []
            var path = "/api/v1/jobs?limit=10"
            while true {
                let page = try await door.send("GET", path, token: token).decode(Page.self)
                seen += page.jobs.map(\.id)
                guard let next = page.next else { break }
                path = "/api/v1/jobs?limit=10&before=\(next)"
            }
            #expect(seen == ids.reversed())
        }
    }

    @Test func areListedByStateQueueKindAndKey() async throws {
        let ids = try await queue.enqueue(many: [
            NewJob(kind: "echo", key: "a"), NewJob(kind: "echo", queue: "other"), NewJob(kind: "echo", limitKey: "l/1"),
            NewJob(kind: "echo", runAt: .distantFuture), NewJob(kind: "echo", orderKey: "o"),
        ])
        _ = try await queue.cancel(ids[4], reason: "enough")
        let token = try await token()
        try await withServiceCenter { door in
            for (query, expected) in [
                ("state=ready", [ids[2], ids[1], ids[0]]), ("state=parked", [ids[3]]), ("state=cancelled", [ids[4]]),
                ("queue=other", [ids[1]]), ("key=a", [ids[0]]), ("key=l%2F1", [ids[2]]), ("key=o", [ids[4]]),
                ("kind=echo&state=ready&queue=other", [ids[1]]), ("kind=none", []),
            ] {
                let page = try await door.send("GET", "/api/v1/jobs?" + query, token: token).decode(Page.self)
                #expect(page.jobs.map(\.id) == expected, "\(query)")
            }
            for (query, field) in [
                ("state=odd", "state"), ("limit=0", "limit"), ("colour=red", "colour"), ("before=x", "before"),
            ] {
                let answer = try await door.send("GET", "/api/v1/jobs?" + query, token: token)
                #expect(answer.status == 422, "\(query)")
                #expect(try answer.decode(ToldProblem.self).field == field)
            }
        }
    }

    @Test func areShownOneByOneWithTheirArgsAndAttempts() async throws {
        let id = try await queue.enqueue(NewJob(kind: "echo", args: #"{"big": 12345678901234567890}"#, key: "k"))
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("GET", "/api/v1/jobs/\(id)", token: token)
            #expect(answer.status == 200)
            #expect(answer.text.contains("12345678901234567890"))
            #expect(answer.text.contains(#""attempts": []"#))
            for unknown in ["/api/v1/jobs/\(id + 1)", "/api/v1/jobs/nonsense"] {
                let answer = try await door.send("GET", unknown, token: token)
                #expect(answer.status == 404)
                #expect(answer.header("content-type") == "application/problem+json")
            }
        }
    }

    @Test func areCancelledOnce() async throws {
        let id = try await queue.enqueue(NewJob(kind: "echo"))
        let token = try await token()
        try await withServiceCenter { door in
            let path = "/api/v1/jobs/\(id)/cancel"
            let answer = try await door.send("POST", path, token: token, body: #"{"reason": "a mistake"}"#)
            #expect(answer.status == 202)
            #expect(try await state(id) == "cancelled")
            let reason = try await pool.query("select reason from koppeling.jobs").scalar(as: String.self)
            #expect(reason == "a mistake")
            let again = try await door.send("POST", path, token: token)
            #expect(again.status == 409)
            #expect(try again.decode(ToldProblem.self).detail.contains("is cancelled"))
            let unknown = try await door.send("POST", "/api/v1/jobs/987654/cancel", token: token)
            #expect(unknown.status == 404)
            let wrong = try await door.send("POST", path, token: token, body: #"{"reason": 5}"#)
            #expect(try wrong.decode(ToldProblem.self).field == "reason")
        }
    }

    @Test func areCancelledWhileTheyRun() async throws {
        struct Sleeper: JobHandler {
            var kinds: Set<String> { ["echo"] }

            func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
                try await Task.sleep(for: .seconds(3_600))
                return [:]
            }
        }
        let id = try await queue.enqueue(NewJob(kind: "echo"))
        let token = try await token()
        let registry = PrometheusRegistry()
        try await withServiceCenter { door in
            try await withWorker([Sleeper()], metrics: registry, on: pool) {
                try await eventually("it runs") { try await state(id) == "running" }
                let answer = try await door.send(
                    "POST", "/api/v1/jobs/\(id)/cancel", token: token, body: #"{"reason": "enough"}"#)
                #expect(answer.status == 202)
                try await eventually("its task is cancelled", within: .seconds(5)) {
                    try await state(id) == "cancelled"
                }
                try await eventually("it is counted") {
                    registry.text.contains(
                        #"koppeling_jobs_completed_total{kind="echo",outcome="cancelled",queue="default"} 1"#)
                }
            }
        }
        #expect(try await pool.query("select reason from koppeling.jobs").scalar(as: String.self) == "enough")
    }

    @Test func areRunAgainOneByOne() async throws {
        let id = try await reject(["no"])[0]
        let token = try await token()
        try await withServiceCenter { door in
            let path = "/api/v1/jobs/\(id)/retry"
            let answer = try await door.send("POST", path, token: token)
            #expect(answer.status == 200)
            #expect(try await state(id) == "ready")
            let again = try await door.send("POST", path, token: token)
            #expect(again.status == 409)
            #expect(try again.decode(ToldProblem.self).detail.contains("is ready"))
            let unknown = try await door.send("POST", "/api/v1/jobs/987654/retry", token: token)
            #expect(unknown.status == 404)
        }
    }

    private struct Retried: Decodable, Equatable {
        var retried: Int64
        var more: Bool
    }

    @Test func areRunAgainWhenTheyMatch() async throws {
        let ids = try await reject(["No such LIST", "no such list", "too long"])
        let other = try await reject(["no such list"], queue: "other")
        let token = try await token()
        try await withServiceCenter { door in
            func retry(_ body: String) async throws -> Retried {
                try await door.send("POST", "/api/v1/jobs/retry", token: token, body: body).decode()
            }
            #expect(try await retry(#"{"until": "2020-01-01T00:00:00Z"}"#) == Retried(retried: 0, more: false))
            #expect(
                try await retry(#"{"reason": "such list", "queue": "default", "limit": 1}"#)
                    == Retried(retried: 1, more: true))
            #expect(
                try await retry(#"{"reason": "such list", "queue": "default"}"#) == Retried(retried: 1, more: false))
            #expect(try await state(ids[0]) == "ready")
            #expect(try await state(ids[1]) == "ready")
            #expect(try await state(ids[2]) == "rejected")
            #expect(try await state(other[0]) == "rejected")
            #expect(
                try await retry(#"{"since": "2020-01-01T00:00:00.5Z", "kind": "echo"}"#)
                    == Retried(retried: 2, more: false))
            for (body, field) in [
                (#"{"since": "soon"}"#, "since"), (#"{"limit": 1.5}"#, "limit"), (#"{"id": 1}"#, "id"),
            ] {
                let answer = try await door.send("POST", "/api/v1/jobs/retry", token: token, body: body)
                #expect(answer.status == 422)
                #expect(try answer.decode(ToldProblem.self).field == field)
            }
            let malformed = try await door.send("POST", "/api/v1/jobs/retry", token: token, body: "[1]")
            #expect(malformed.status == 400)
        }
    }

    @Test(arguments: [
        ("GET", "/api/v1/jobs", TokenRight.read), ("GET", "/api/v1/jobs/1", .read),
        ("POST", "/api/v1/jobs/1/cancel", .operate), ("POST", "/api/v1/jobs/1/retry", .operate),
        ("POST", "/api/v1/jobs/retry", .operate), ("GET", "/api/v1/limits", .read), ("GET", "/api/v1/limits/a", .read),
        ("PUT", "/api/v1/limits/a", .operate), ("DELETE", "/api/v1/limits/a", .operate),
        ("GET", "/api/v1/pauses", .read),
        ("POST", "/api/v1/pauses", .operate), ("DELETE", "/api/v1/pauses?queue=a", .operate),
    ])
    func needTheRight(method: String, path: String, right: TokenRight) async throws {
        let others = Set(TokenRight.allCases).subtracting([right])
        let token = try await token(others)
        try await withServiceCenter { door in
            let refused = try await door.send(method, path, token: token)
            #expect(refused.status == 403)
            let stranger = try await door.send(method, path)
            #expect(stranger.status == 401)
        }
    }
}
