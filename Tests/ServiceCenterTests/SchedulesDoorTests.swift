import HTTPClient
import JobQueue
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Schedules over HTTP", .database)
struct SchedulesDoorTests {
    private let pool = TestDatabase.current.pool

    private func token(_ rights: Set<TokenRight> = [.read, .operate]) async throws -> String {
        try await APITokens(pool: pool).create(name: "operator", rights: rights)
    }

    private struct Shown: Decodable {
        var name: String
        var cron: String
        var time_zone: String
        var missed: String
        var paused: Bool
        var next_at: String?
        var kind: String
        var key: String?
    }
    private struct Page: Decodable {
        var schedules: [Shown]
        var next: String?
    }

    @Test func aScheduleIsPutChangedPausedShownAndRemoved() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let path = "/api/v1/schedules/nightly%2Fone%20two"
            let put = try await door.send(
                "PUT", path, token: token,
                body: #"""
                    {"cron": "30 2 * * *", "time_zone": "Europe/Amsterdam", "kind": "echo", "args": {"n": 1},
                     "missed": "skip", "key": "k", "priority": 3}
                    """#)
            #expect(put.status == 200)
            let shown = try put.decode(Shown.self)
            #expect(shown.name == "nightly/one two")
            #expect(shown.time_zone == "Europe/Amsterdam" && shown.missed == "skip" && shown.key == "k")
            #expect(!shown.paused && shown.next_at != nil)
            let stored = try await JobQueue(pool: pool).schedule("nightly/one two")
            #expect(stored?.schedule.job.args == #"{"n": 1}"#)
            _ = try await door.send(
                "PUT", path, token: token, body: #"{"cron": "@daily", "kind": "echo", "paused": true}"#)
            let paused = try await door.send("GET", path, token: token).decode(Shown.self)
            #expect(paused.cron == "@daily" && paused.time_zone == "UTC" && paused.key == nil)
            #expect(paused.paused && paused.next_at == nil)
            let removed = try await door.send("DELETE", path, token: token).status
            #expect(removed == 204)
            for method in ["GET", "DELETE"] {
                let gone = try await door.send(method, path, token: token).status
                #expect(gone == 404)
            }
        }
    }

    @Test func schedulesAreListedAPageAtATime() async throws {
        try await pool.query("select koppeling.put_schedule('s ' || n, '@daily', 'echo') from generate_series(1, 9) n")
        let token = try await token()
        try await withServiceCenter { door in
            let first = try await door.send("GET", "/api/v1/schedules?limit=5", token: token).decode(Page.self)
            #expect(first.schedules.map(\.name) == (1...5).map { "s \($0)" })
            #expect(first.next == "s 5")
            let second = try await door.send("GET", "/api/v1/schedules?limit=5&after=s%205", token: token).decode(
                Page.self)
            #expect(second.schedules.map(\.name) == (6...9).map { "s \($0)" })
            #expect(second.next == nil)
            let wrong = try await door.send("GET", "/api/v1/schedules?limit=0", token: token)
            #expect(wrong.status == 422)
            #expect(try wrong.decode(ToldProblem.self).field == "limit")
        }
    }

    @Test(arguments: [
        (#"{"kind": "echo"}"#, "cron"), (#"{"cron": "0 25 * * *", "kind": "echo"}"#, "cron"),
        (#"{"cron": 5, "kind": "echo"}"#, "cron"), (#"{"cron": "@daily"}"#, "kind"),
        (#"{"cron": "@daily", "kind": "nonsense"}"#, "kind"), (#"{"cron": "@daily", "kind": "inner"}"#, "kind"),
        (#"{"cron": "@daily", "kind": "echo", "time_zone": "CET"}"#, "time_zone"),
        (#"{"cron": "@daily", "kind": "echo", "missed": "all"}"#, "missed"),
        (#"{"cron": "@daily", "kind": "echo", "paused": "yes"}"#, "paused"),
        (#"{"cron": "@daily", "kind": "echo", "run_at": "infinity"}"#, "run_at"),
        (#"{"cron": "@daily", "kind": "echo", "colour": "red"}"#, "colour"),
        (#"{"cron": "@daily", "kind": "echo", "args": 5}"#, "args"),
    ])
    func aWrongScheduleIsRefusedByField(body: String, field: String) async throws {
        try await pool.execute("insert into koppeling.job_kind (kind) values ('inner')")
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("PUT", "/api/v1/schedules/s", token: token, body: body)
            #expect(answer.status == 422)
            #expect(try answer.decode(ToldProblem.self).field == field)
            let none = try await door.send("GET", "/api/v1/schedules/s", token: token).status
            #expect(none == 404)
        }
    }

    @Test func schedulesOfTheSystemsOwnKindsAreNotForOthers() async throws {
        try await pool.execute("insert into koppeling.job_kind (kind) values ('inner')")
        try await pool.query("select koppeling.put_schedule('own', '@daily', 'inner')")
        let token = try await token()
        try await withServiceCenter { door in
            let body = #"{"cron": "@daily", "kind": "echo"}"#
            let put = try await door.send("PUT", "/api/v1/schedules/own", token: token, body: body).status
            #expect(put == 422)
            let removed = try await door.send("DELETE", "/api/v1/schedules/own", token: token).status
            #expect(removed == 422)
            let shown = try await door.send("GET", "/api/v1/schedules/own", token: token).decode(Shown.self)
            #expect(shown.kind == "inner")
        }
    }

    @Test func whoMayOnlyReadChangesNothing() async throws {
        let token = try await token([.read])
        try await withServiceCenter { door in
            let path = "/api/v1/schedules/s"
            let body = #"{"cron": "@daily", "kind": "echo"}"#
            let put = try await door.send("PUT", path, token: token, body: body).status
            #expect(put == 403)
            let removed = try await door.send("DELETE", path, token: token).status
            #expect(removed == 403)
            let listed = try await door.send("GET", "/api/v1/schedules", token: token).decode(Page.self)
            #expect(listed.schedules.isEmpty)
            let stranger = try await door.send("GET", "/api/v1/schedules").status
            #expect(stranger == 401)
        }
    }
}
