import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("The jobs' door", .database)
struct JobsDoorTests {
    private func token() async throws -> String {
        try await APITokens(pool: TestDatabase.current.pool).create(name: "test")
    }

    private func kinds() async throws -> [String] {
        let rows = try await TestDatabase.current.pool.query("select kind from koppeling.job order by id")
        return try rows.map { try $0.decode("kind") }
    }

    private struct One: Decodable { var id: Int64 }
    private struct Many: Decodable { var ids: [Int64] }

    @Test func aJobIsEnqueuedAndItsIDReturned() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send(
                "POST", "/api/v1/jobs", token: token,
                body: #"{"kind": "echo", "args": {"big": 12345678901234567890.5}, "key": "a", "priority": -3}"#)
            #expect(answer.status == 201)
            let id = try answer.decode(One.self).id
            let row = try await TestDatabase.current.pool.query(
                "select key, priority, args ->> 'big' as big from koppeling.job where id = \(id)")
            let job = try #require(row.first)
            #expect(try job.decode("key", as: String.self) == "a")
            #expect(try job.decode("priority", as: Int32.self) == -3)
            // The body never went through a number of Swift's.
            #expect(try job.decode("big", as: String.self) == "12345678901234567890.5")
        }
    }

    @Test func manyJobsAreEnqueuedTogetherInTheirOrder() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let jobs = Array(repeating: #"{"kind": "echo"}"#, count: 1_000).joined(separator: ",")
            let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: "[\(jobs)]")
            #expect(answer.status == 201)
            let ids = try answer.decode(Many.self).ids
            #expect(ids.count == 1_000)
            #expect(ids == ids.sorted())
            let tooMany = try await door.send(
                "POST", "/api/v1/jobs", token: token, body: "[\(jobs),{\"kind\":\"echo\"}]")
            #expect(tooMany.status == 422)
            #expect(try await kinds().count == 1_000)
        }
    }

    @Test func anEmptyArrayIsNoJobs() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: "[]")
            #expect(answer.status == 201)
            #expect(try answer.decode(Many.self).ids.isEmpty)
        }
    }

    @Test(arguments: [
        (#"{"kind": "echo", "priority": 99999}"#, "priority"),
        (#"{"kind": "echo", "priority": "high"}"#, "priority"),
        (#"{"kind": "echo", "colour": "red"}"#, "colour"),
        (#"{"kind": "echo", "run_at": "soon"}"#, "run_at"),
        (#"{"kind": "nonsense"}"#, "kind"),
        (#"{"kind": "echo", "args": ["\#(String(repeating: "x", count: 262_144))"]}"#, "args"),
        (#"{}"#, "kind"),
        (#"[{"kind": "echo"}, {"kind": "echo", "args": 5}]"#, "[1].args"),
        (#"[{"kind": "echo"}, 5]"#, "[1]"),
    ])
    func aWrongFieldIsNamedAndNothingIsEnqueued(body: String, field: String) async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: body)
            #expect(answer.status == 422)
            #expect(answer.header("content-type") == "application/problem+json")
            let problem = try answer.decode(ToldProblem.self)
            #expect(problem.field == field)
            #expect(!problem.detail.isEmpty)
        }
        #expect(try await kinds().isEmpty)
    }

    @Test(arguments: [("", 400), ("{", 400), (#"{"kind": "\u0000"}"#, 400), ("5", 422), ("null", 422)])
    func aBodyThatIsNoJobIsRefused(body: String, status: Int) async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: body)
            #expect(answer.status == status)
            #expect(answer.header("content-type") == "application/problem+json")
            if status == 400 { #expect(try answer.decode(ToldProblem.self).field == "body") }
        }
        #expect(try await kinds().isEmpty)
    }

    @Test func aBodyThatIsTooLargeIsRefused() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let body = #"{"kind": "echo", "args": {"a": "\#(String(repeating: "x", count: 1_100_000))"}}"#
            let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: body).status
            #expect(answer == 413)
        }
    }

    @Test func internalKindsAreNotForOthers() async throws {
        let token = try await token()
        try await TestDatabase.current.pool.execute(
            "insert into koppeling.job_kind (kind, public) values ('test.internal', false)")
        try await withServiceCenter { door in
            let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: #"{"kind": "test.internal"}"#)
            #expect(answer.status == 422)
            #expect(try answer.decode(ToldProblem.self).field == "kind")
        }
    }

    @Test func withoutATokenThatCountsNothingIsDone() async throws {
        let tokens = APITokens(pool: TestDatabase.current.pool)
        let revoked = try await tokens.create(name: "revoked")
        try await tokens.revoke(name: "revoked")
        try await withServiceCenter { door in
            for token in [nil, "", "wrong", revoked, revoked + "x"] {
                let answer = try await door.send("POST", "/api/v1/jobs", token: token, body: #"{"kind": "echo"}"#)
                #expect(answer.status == 401)
                #expect(answer.header("www-authenticate") == "Bearer")
            }
        }
        #expect(try await kinds().isEmpty)
    }

    @Test func aTokenIsNeitherStoredNorShownAgain() async throws {
        let tokens = APITokens(pool: TestDatabase.current.pool)
        let token = try await tokens.create(name: "books")
        await #expect(throws: ServiceCenterError.self) { try await tokens.create(name: "books") }
        let rows = try await TestDatabase.current.pool.query("select to_jsonb(t)::text as t from koppeling.api_token t")
        #expect(try !rows.scalar(as: String.self).contains(token))
        #expect(try await tokens.list().map(\.name) == ["books"])

        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/jobs", token: token, body: #"{"kind": "echo"}"#)
            #expect(try await tokens.list().first?.lastUsedAt != nil)
            #expect(!door.log.text.contains(token))
        }
        // A name is free again once its token was revoked.
        try await tokens.revoke(name: "books")
        _ = try await tokens.create(name: "books")
        await #expect(throws: ServiceCenterError.self) { try await tokens.revoke(name: "others") }
    }
}
