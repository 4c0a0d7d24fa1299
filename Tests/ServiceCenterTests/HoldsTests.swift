import HTTPClient
import JobQueue
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Limits and pauses over HTTP", .database)
struct HoldsTests {
    private let pool = TestDatabase.current.pool

    private func token() async throws -> String {
        try await APITokens(pool: pool).create(name: "operator", rights: [.read, .operate])
    }

    private struct Limit: Decodable, Equatable {
        var limit_key: String
        var concurrency: Int?
        var rate: Int?
        var period: Double?
    }
    private struct Limits: Decodable {
        var limits: [Limit]
        var next: String?
    }
    private struct Pauses: Decodable {
        struct Pause: Decodable, Equatable {
            var id: Int64
            var queue: String?
            var kind: String?
            var key: String?
            var reason: String?
        }
        var pauses: [Pause]
        var next: Int64?
    }
    private struct One: Decodable { var id: Int64 }

    @Test func aLimitIsSetChangedShownAndRemoved() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let path = "/api/v1/limits/mail%2Fone%20two"
            let set = try await door.send("PUT", path, token: token, body: #"{"concurrency": 3}"#)
            #expect(set.status == 200)
            #expect(try set.decode(Limit.self) == Limit(limit_key: "mail/one two", concurrency: 3))
            _ = try await door.send("PUT", path, token: token, body: #"{"rate": 10, "period": 1.5}"#)
            let shown = try await door.send("GET", path, token: token).decode(Limit.self)
            #expect(shown == Limit(limit_key: "mail/one two", rate: 10, period: 1.5))
            let removed = try await door.send("DELETE", path, token: token)
            #expect(removed.status == 204)
            for method in ["GET", "DELETE"] {
                let gone = try await door.send(method, path, token: token)
                #expect(gone.status == 404)
            }
        }
    }

    @Test func limitsAreListedAPageAtATime() async throws {
        try await pool.query("select koppeling.set_limit('key ' || n, n) from generate_series(1, 9) n")
        let token = try await token()
        try await withServiceCenter { door in
            let first = try await door.send("GET", "/api/v1/limits?limit=5", token: token).decode(Limits.self)
            #expect(first.limits.map(\.limit_key) == (1...5).map { "key \($0)" })
            #expect(first.next == "key 5")
            let second = try await door.send("GET", "/api/v1/limits?limit=5&after=key+5", token: token).decode(
                Limits.self)
            #expect(second.limits.map(\.limit_key) == (6...9).map { "key \($0)" })
            #expect(second.next == nil)
        }
    }

    @Test(arguments: [
        (#"{}"#, "concurrency"), (#"{"concurrency": 0}"#, "concurrency"), (#"{"concurrency": "many"}"#, "concurrency"),
        (#"{"rate": 5}"#, "period"), (#"{"rate": 5, "period": 0}"#, "period"), (#"{"period": 5}"#, "rate"),
        (#"{"concurrency": 5, "colour": "red"}"#, "colour"),
    ])
    func aWrongLimitIsRefusedByField(body: String, field: String) async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("PUT", "/api/v1/limits/k", token: token, body: body)
            #expect(answer.status == 422)
            #expect(try answer.decode(ToldProblem.self).field == field)
            let none = try await door.send("GET", "/api/v1/limits/k", token: token)
            #expect(none.status == 404)
        }
    }

    @Test func aLimitOverHTTPIsObeyedByAWorker() async throws {
        let token = try await token()
        let ids = try await JobQueue(pool: pool).enqueue(
            many: (0..<3).map { _ in NewJob(kind: "echo", limitKey: "one") })
        try await withServiceCenter { door in
            _ = try await door.send(
                "PUT", "/api/v1/limits/one", token: token, body: #"{"rate": 2, "period": 3600}"#)
            try await withWorker(on: pool) {
                try await eventually("two start and one is blocked") {
                    let states = try await pool.query("select state from koppeling.jobs order by id").map {
                        try $0.decode("state", as: String.self)
                    }
                    return states == ["done", "done", "blocked"]
                }
                let blocked = try await pool.query("select id from koppeling.jobs where blocked_by = 'limit'").scalar(
                    as: Int64.self)
                #expect(blocked == ids[2])
                _ = try await door.send("DELETE", "/api/v1/limits/one", token: token)
                try await eventually("the last starts when the limit is gone") {
                    try await pool.query("select count(*) from koppeling.jobs where state = 'done'").scalar(
                        as: Int64.self) == 3
                }
            }
        }
    }

    @Test func aPauseIsMadeListedAndEnded() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let made = try await door.send(
                "POST", "/api/v1/pauses", token: token, body: #"{"queue": "letters", "key": "k/1", "reason": "a test"}"#
            )
            #expect(made.status == 201)
            let id = try made.decode(One.self).id
            _ = try await door.send("POST", "/api/v1/pauses", token: token, body: #"{"kind": "echo"}"#)
            let pauses = try await door.send("GET", "/api/v1/pauses", token: token).decode(Pauses.self).pauses
            #expect(pauses.map(\.kind) == ["echo", nil])
            #expect(pauses.last == Pauses.Pause(id: id, queue: "letters", key: "k/1", reason: "a test"))
            // Only exactly what was paused is resumed.
            let other = try await door.send("DELETE", "/api/v1/pauses?queue=letters", token: token)
            #expect(other.status == 404)
            let ended = try await door.send("DELETE", "/api/v1/pauses?queue=letters&key=k%2F1", token: token)
            #expect(ended.status == 204)
            let left = try await door.send("GET", "/api/v1/pauses", token: token).decode(Pauses.self).pauses
            #expect(left.map(\.kind) == ["echo"])
            for (body, field) in [("{}", "queue"), (#"{"kind": 5}"#, "kind"), (#"{"id": 5}"#, "id")] {
                let wrong = try await door.send("POST", "/api/v1/pauses", token: token, body: body)
                #expect(wrong.status == 422)
                #expect(try wrong.decode(ToldProblem.self).field == field)
            }
        }
    }

    @Test func aPausedKeyWaitsUntilItIsResumed() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/pauses", token: token, body: #"{"key": "k"}"#)
            let queue = JobQueue(pool: pool)
            let paused = try await queue.enqueue(NewJob(kind: "echo", key: "k"))
            let free = try await queue.enqueue(NewJob(kind: "echo"))
            try await withWorker(on: pool) {
                try await eventually("the other one is done") { try await state(free) == "done" }
                try await eventually("the paused one is blocked") { try await state(paused) == "blocked" }
                let metrics = try await door.send("GET", "/metrics").text
                #expect(metrics.contains("koppeling_pauses 1\n"))
                #expect(metrics.contains(#"koppeling_queue_jobs{kind="echo",queue="default",state="blocked"} 1"#))
                _ = try await door.send("DELETE", "/api/v1/pauses?key=k", token: token)
                try await eventually("it starts") { try await state(paused) == "done" }
            }
        }
    }

    private func state(_ id: Int64) async throws -> String {
        try await pool.query("select state from koppeling.jobs where id = \(id)").scalar()
    }
}
