import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("A request to enqueue that is repeated", .database)
struct IdempotencyTests {
    private let pool = TestDatabase.current.pool
    private let job = #"{"kind": "echo", "args": {"a": 1}}"#

    private func token(_ name: String = "test") async throws -> String {
        try await APITokens(pool: pool).create(name: name)
    }

    private func count(of table: String = "job") async throws -> Int64 {
        try await pool.query("select count(*) from koppeling.\(identifier: table)").scalar()
    }

    private func post(_ body: String, key: String, token: String, at door: Door) async throws -> HTTPResponse {
        try await door.send("POST", "/api/v1/jobs", token: token, headers: [("idempotency-key", key)], body: body)
    }

    private struct One: Decodable { var id: Int64 }

    @Test(arguments: [
        (#"{"kind": "echo", "args": {"a": 1}}"#, #"{"args":{"a":1},"kind":"echo"}"#),
        (#"[{"kind": "echo"}, {"kind": "echo", "key": "k"}]"#, #"[{"kind":"echo"},{"key":"k","kind":"echo"}]"#),
        ("[]", " [ ] "),
    ])
    func getsTheFirstAnswerAndEnqueuesNothing(body: String, sameBody: String) async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let first = try await post(body, key: "a", token: token, at: door)
            #expect(first.status == 201)
            #expect(first.header("idempotency-replayed") == nil)
            let jobs = try await count()
            let second = try await post(sameBody, key: "a", token: token, at: door)
            #expect(second.status == 201)
            #expect(second.text == first.text)
            #expect(second.header("idempotency-replayed") == "true")
            #expect(try await count() == jobs)
        }
    }

    @Test func withAnotherBodyIsRefused() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            _ = try await post(job, key: "a", token: token, at: door)
            for other in [#"{"kind": "echo", "args": {"a": 2}}"#, "[\(job)]"] {
                let answer = try await post(other, key: "a", token: token, at: door)
                #expect(answer.status == 422)
                let problem = try answer.decode(ToldProblem.self)
                #expect(problem.field == "Idempotency-Key")
                #expect(problem.detail.contains("another body"))
            }
        }
        #expect(try await count() == 1)
    }

    @Test func isOneOfItsOwnForEachToken() async throws {
        let tokens = [try await token("one"), try await token("two")]
        try await withServiceCenter { door in
            let first = try await post(job, key: "a", token: tokens[0], at: door).decode(One.self).id
            let second = try await post(job, key: "a", token: tokens[1], at: door).decode(One.self).id
            #expect(first != second)
        }
        #expect(try await count() == 2)
    }

    @Test func mayBeMendedWhenItWasRefused() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let refused = try await post(#"{"kind": "nonsense"}"#, key: "a", token: token, at: door)
            #expect(refused.status == 422)
            #expect(try await count(of: "idempotent_request") == 0)
            let mended = try await post(job, key: "a", token: token, at: door)
            #expect(mended.status == 201)
        }
    }

    @Test func enqueuesOnceHoweverManyComeAtOnce() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answers = try await withThrowingTaskGroup(of: Int64.self) { group in
                for _ in 0..<20 {
                    group.addTask { try await post(job, key: "a", token: token, at: door).decode(One.self).id }
                }
                return try await group.reduce(into: Set()) { $0.insert($1) }
            }
            #expect(answers.count == 1)
        }
        #expect(try await count() == 1)
    }

    @Test func isForgottenAfterADayAndPrunedABitAtATime() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let first = try await post(job, key: "a", token: token, at: door).decode(One.self).id
            try await pool.execute(
                """
                insert into koppeling.idempotent_request (token_id, key, body_hash, created_at)
                select r.token_id, 'old ' || n, r.body_hash, r.created_at
                from koppeling.idempotent_request r, generate_series(1, 149) n
                """)
            try await jump(hours: 23)
            #expect(try await post(job, key: "a", token: token, at: door).decode(One.self).id == first)
            try await jump(hours: 25)
            #expect(try await post(job, key: "a", token: token, at: door).decode(One.self).id != first)
            #expect(try await count(of: "idempotent_request") == 50)
            _ = try await post(job, key: "b", token: token, at: door)
            #expect(try await count(of: "idempotent_request") == 2)
        }
    }

    @Test func needsAKeyOfAtMost255Characters() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await post(job, key: String(repeating: "k", count: 256), token: token, at: door)
            #expect(answer.status == 400)
            #expect(try answer.decode(ToldProblem.self).field == "Idempotency-Key")
            let longest = try await post(job, key: String(repeating: "k", count: 255), token: token, at: door)
            #expect(longest.status == 201)
        }
    }

    @Test func needsTheRightToEnqueue() async throws {
        let reader = try await APITokens(pool: pool).create(name: "reader", rights: [.read, .operate])
        try await withServiceCenter { door in
            let answer = try await post(job, key: "a", token: reader, at: door)
            #expect(answer.status == 403)
            #expect(try answer.decode(ToldProblem.self).detail.contains("--may enqueue"))
        }
        #expect(try await count() == 0)
    }
}
