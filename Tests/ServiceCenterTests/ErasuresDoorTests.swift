import Connector
import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Erasures over HTTP", .database)
struct ErasuresDoorTests {
    private struct Report: Decodable { var person: Int64, erased_at: String?, is_complete: Bool, puts_skipped: Int64? }

    private let pool = TestDatabase.current.pool

    @Test func anErasureIsEnqueuedOnceAndReported() async throws {
        let vault = try Vault(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        let token = try await APITokens(pool: pool).create(name: "crm", rights: [.persons, .disclose, .groups])
        let group = try await APITokens(pool: pool).create(name: "desk", rights: [.groups])
        try await withServiceCenter(vault: vault) { door in
            let anna = #"{"source": "crm", "id": "1", "family_name": "Jansen"}"#
            _ = try await door.send("POST", "/api/v1/persons", token: token, body: anna)
            _ = try await door.send("POST", "/api/v1/groups", token: group, body: #"{"name": "News"}"#)
            var place = ""
            for _ in 1...2 {
                let answer = try await door.send("POST", "/api/v1/persons/crm/1/erase", token: token)
                #expect(answer.status == 202)
                let id = try #require(try answer.decode([String: Int64].self)["id"])
                place = try #require(answer.header("location"))
                #expect(place == "/api/v1/erasures/\(id)")
            }
            let jobs: Int64 = try await pool.query("select count(*) from koppeling.job where kind = 'person.erase'")
                .scalar()
            #expect(jobs == 1)
            let waiting = try await door.send("GET", place, token: token)
            #expect(waiting.status == 200)
            #expect(try waiting.decode(Report.self).erased_at == nil && !waiting.decode(Report.self).is_complete)

            let told = try await Erasures(pool: pool, vault: vault).erase(source: "crm", id: "1", actor: "test")
            let done = try await door.send("GET", place, token: token)
            let report = try done.decode(Report.self)
            #expect(report.erased_at != nil && report.is_complete && report.puts_skipped == 0)
            #expect(try told.decode(Report.self).person == report.person)
            #expect(try await door.send("GET", "/api/v1/erasures/999", token: token).status == 404)
            #expect(try await door.send("GET", "/api/v1/erasures/x", token: token).status == 404)
            let shown: JSONText = try await pool.query("select koppeling.erasure_of(\(report.person)::bigint)").scalar()
            #expect(try shown.decode(Report.self).erased_at == report.erased_at)

            // Whoever names her is told, and whoever puts her.
            for (method, path, body) in [
                ("GET", "/api/v1/persons/crm/1", nil), ("GET", "/api/v1/persons/crm/1/why?group=News", nil),
                ("POST", "/api/v1/persons/crm/1/archive", ""), ("POST", "/api/v1/persons/crm/1/erase", ""),
                ("PUT", "/api/v1/groups/News/members/crm/1", #"{"override": "include"}"#),
                ("POST", "/api/v1/groups/News/members/crm/1/readmit", ""),
            ] {
                let gone = try await door.send(method, path, token: token, body: body)
                #expect(gone.status == 404, "\(path)")
                #expect(try gone.decode(ToldProblem.self).detail.contains("was erased on "), "\(path): \(gone.text)")
            }
            let list = try await door.send(
                "POST", "/api/v1/persons", token: token, body: "[\(anna), {\"source\": \"crm\", \"id\": \"2\"}]")
            #expect(try list.decode([String: Int64].self) == ["count": 2, "erased": 1])
            let one = try await door.send("POST", "/api/v1/persons", token: token, body: anna)
            #expect(try one.decode([String: Int64?].self) == ["id": nil, "erased": 1])
        }
    }
}
