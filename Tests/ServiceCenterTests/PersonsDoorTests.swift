import FoundationEssentials
import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Persons and companies over HTTP", .database)
struct PersonsDoorTests {
    private let pool = TestDatabase.current.pool

    private func token(_ rights: Set<TokenRight> = [.persons, .disclose]) async throws -> String {
        try await APITokens(pool: pool).create(name: "crm", rights: rights)
    }

    private func count(_ query: Query) async throws -> Int64 { try await pool.query(query).scalar() }

    private func persons() async throws -> Int64 { try await count("select count(*) from koppeling.person") }

    private static let anna = #"""
        {"source": "crm", "id": "a/1 é", "family_name": "Jansen", "emails": {"work": "anna@example.org"}}
        """#
    private static let path = "/api/v1/persons/crm/a%2F1%20%C3%A9"

    @Test func onePersonAndAListArePut() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let one = try await door.send("POST", "/api/v1/persons", token: token, body: Self.anna)
            #expect(one.status == 200)
            let id = try one.decode([String: Int64].self)["id"]
            #expect(try await count("select id from koppeling.person where family_name = 'Jansen'") == id)
            let people = (1...1_000).map { #"{"source": "crm", "id": "\#($0)"}"# }.joined(separator: ",")
            let list = try await door.send("POST", "/api/v1/persons", token: token, body: "[\(people)]")
            #expect(list.status == 200)
            #expect(try list.decode([String: Int64].self) == ["count": 1_000])
            let tooMany = try await door.send(
                "POST", "/api/v1/persons", token: token, body: #"[\#(people),{"source": "crm", "id": "x"}]"#)
            #expect(tooMany.status == 422)
            #expect(try await persons() == 1_001)
        }
    }

    @Test func companiesArePut() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let one = try await door.send(
                "POST", "/api/v1/companies", token: token, body: #"{"source": "crm", "id": "7", "name": "Bakker"}"#)
            #expect(one.status == 200)
            let list = try await door.send(
                "POST", "/api/v1/companies", token: token, body: #"[{"source": "crm", "id": "8", "name": "Smid"}]"#)
            #expect(try list.decode([String: Int64].self) == ["count": 1])
            #expect(try await count("select count(*) from koppeling.company where name in ('Bakker', 'Smid')") == 2)
        }
    }

    @Test(arguments: [
        ("", 400, "body"), ("{", 400, "body"), ("5", 422, nil), (#"{"source": "crm"}"#, 422, "id"),
        (#"{"source": "crm", "id": "1", "emails": {"work": "nonsense"}}"#, 422, "emails.work"),
        (#"[{"source": "crm", "id": "1"}, {"source": "crm", "id": "2", "gender": "nonsense"}]"#, 422, "[1].gender"),
    ])
    func aFaultIsNamedAndNothingIsPut(body: String, status: Int, field: String?) async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let answer = try await door.send("POST", "/api/v1/persons", token: token, body: body)
            #expect(answer.status == status)
            let problem = try answer.decode(ToldProblem.self)
            if let field { #expect(problem.field == field) }
            #expect(!problem.detail.isEmpty)
        }
        #expect(try await persons() == 0)
    }

    @Test func aPersonIsArchivedReactivatedAndUnsubscribed() async throws {
        let token = try await token()
        try await insertInstance(secret: "s")
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/persons", token: token, body: Self.anna)
            let archived = try await door.send("POST", Self.path + "/archive", token: token).status
            #expect(archived == 204)
            #expect(try await count("select count(*) from koppeling.person where state = 'archived'") == 1)
            let back = try await door.send("POST", Self.path + "/reactivate", token: token).status
            #expect(back == 204)
            #expect(try await count("select count(*) from koppeling.person where state = 'active'") == 1)
            let no = try await door.send(
                "POST", Self.path + "/unsubscribe", token: token, body: #"{"group": "News"}"#)
            #expect(no.status == 200)
            #expect(try no.decode([String: Int64].self) == ["groups": 1])
            #expect(try await count("select count(*) from koppeling.suppression") > 0)
            let asked = try await door.send("POST", Self.path + "/invite", token: token, body: #"{"group": "News"}"#)
            #expect(asked.status == 200)
            #expect(try asked.decode([String: Int64].self) == ["groups": 1])
            let wrong = try await door.send("POST", Self.path + "/unsubscribe", token: token, body: #"{"groep": "x"}"#)
            #expect(wrong.status == 422)
            #expect(try wrong.decode(ToldProblem.self).field == "groep")
        }
        #expect(try await count("select count(*) from koppeling.audit_entry where actor = 'token crm'") > 0)
    }

    @Test func twoRecordsOfAPersonAreMerged() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            _ = try await door.send(
                "POST", "/api/v1/persons", token: token, body: #"[\#(Self.anna), {"source": "crm", "id": "2"}]"#)
            let nobody = try await door.send("POST", Self.path + "/merge", token: token, body: #"{"source": "crm"}"#)
            #expect(try nobody.decode(ToldProblem.self).field == "id")
            let herself = try await door.send(
                "POST", Self.path + "/merge", token: token, body: #"{"source": "crm", "id": "A/1 É"}"#)
            #expect(herself.status == 422)
            let merged = try await door.send(
                "POST", Self.path + "/merge", token: token, body: #"{"source": "crm", "id": "2"}"#)
            #expect(merged.status == 204)
            #expect(try await count("select count(*) from koppeling.person where merged_into is not null") == 1)
        }
    }

    @Test func whatIsHeldOnAPersonIsShownAndWhy() async throws {
        struct Held: Decodable { var person: Named }
        struct Named: Decodable { var family_name: String }
        let token = try await token()
        try await insertInstance(secret: "s")
        try await withServiceCenter { door in
            _ = try await door.send("POST", "/api/v1/persons", token: token, body: Self.anna)
            let held = try await door.send("GET", Self.path, token: token)
            #expect(held.status == 200)
            #expect(try held.decode(Held.self).person.family_name == "Jansen")
            let why = try await door.send("GET", Self.path + "/why?group=News", token: token)
            #expect(why.status == 200)
            #expect(try why.decode(Held.self).person.family_name == "Jansen")
            let unnamed = try await door.send("GET", Self.path + "/why", token: token)
            #expect(unnamed.status == 422)
            #expect(try unnamed.decode(ToldProblem.self).field == "group")
            let unknown = try await door.send("GET", Self.path + "/why?group=Nothing", token: token).status
            #expect(unknown == 404)
        }
    }

    @Test func whoIsNotThereIsNotFound() async throws {
        let token = try await token()
        try await withServiceCenter { door in
            let shown = try await door.send("GET", "/api/v1/persons/crm/1", token: token).status
            #expect(shown == 404)
            for act in ["archive", "reactivate", "unsubscribe", "invite", "erase"] {
                let answer = try await door.send("POST", "/api/v1/persons/crm/1/\(act)", token: token)
                #expect(answer.status == 404, "\(act)")
            }
        }
    }

    @Test func theQueuesRightsDoNotReachPersons() async throws {
        let queue = try await token([.enqueue, .read, .operate])
        let puts = try await APITokens(pool: pool).create(name: "puts", rights: [.persons])
        let shows = try await APITokens(pool: pool).create(name: "shows", rights: [.disclose])
        try await withServiceCenter { door in
            for (method, path, others) in [
                ("POST", "/api/v1/persons", [shows]), ("POST", "/api/v1/companies", [shows]),
                ("POST", Self.path + "/erase", [shows]), ("POST", Self.path + "/merge", [shows]),
                ("POST", Self.path + "/unsubscribe", [shows]), ("POST", Self.path + "/archive", [shows]),
                ("GET", "/api/v1/erasures/1", [shows]), ("POST", Self.path + "/reactivate", [shows]),
                ("POST", Self.path + "/invite", [shows]),
                ("GET", Self.path, [puts]), ("GET", Self.path + "/why?group=News", [puts]),
            ] {
                for other in others + [queue] {
                    let answer = try await door.send(
                        method, path, token: other, body: method == "POST" ? Self.anna : nil)
                    #expect(answer.status == 403, "\(method) \(path)")
                }
                let nobody = try await door.send(method, path).status
                #expect(nobody == 401, "\(method) \(path)")
            }
        }
        #expect(try await persons() == 0)
    }
}
