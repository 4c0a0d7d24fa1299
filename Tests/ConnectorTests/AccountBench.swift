import Connector
import HTTPClient
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

/// The accounts of the test's database, and a sandbox with two logins.
struct AccountBench: Sendable {
    static let key = "00000000000000000000000000000001-us1"
    static let secondKey = "00000000000000000000000000000002-us1"
    static let otherLogin = "00000000000000000000000000000003-us1"
    static let sealingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    static let newSealingKey = "ISECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

    let server: MailchimpSandbox
    let port: Int
    let http: HTTPClient
    let pool = TestDatabase.current.pool

    /// Runs the body; the first two keys belong to one login.
    static func run(_ body: (AccountBench) async throws -> Void) async throws {
        var configuration = SandboxConfiguration()
        configuration.controlDoorIsOpen = true
        let server = MailchimpSandbox(configuration: configuration)
        let port = try await server.start()
        await server.addList(name: "Nieuwsbrief")
        let bench = AccountBench(server: server, port: port, http: HTTPClient(allowPlaintext: true))
        let result: Result<Void, any Error>
        do {
            let first = try await bench.control("GET", "accounts").decode(Listing.self).accounts[0].id
            try await bench.control("PATCH", "accounts/\(first)", #"{"add_key": "\#(secondKey)"}"#)
            try await bench.control("POST", "accounts", #"{"name": "Ander", "key": "\#(otherLogin)"}"#)
            result = .success(try await body(bench))
        } catch {
            result = .failure(error)
        }
        bench.http.shutdown()
        await server.stop()
        try result.get()
    }

    private struct Listing: Decodable {
        struct Account: Decodable { var id: String }
        var accounts: [Account]
    }

    func accounts(key: String = sealingKey, previous: String? = nil) throws -> Accounts {
        Accounts(
            pool: pool, vault: try Vault(base64: key, previous: previous), http: http,
            rootOverride: "http://127.0.0.1:\(port)")
    }

    func instances(key: String = sealingKey) throws -> Instances {
        Instances(pool: pool, accounts: try accounts(key: key), vault: try Vault(base64: key))
    }

    /// Goes through the sandbox's control door.
    @discardableResult
    func control(_ method: String, _ path: String, _ json: String? = nil) async throws -> JSONText {
        let response = try await http.send(
            HTTPRequest(
                method: method, url: "http://127.0.0.1:\(port)/sandbox/\(path)",
                headers: [("Content-Type", "application/json")], body: json.map { Array($0.utf8) }))
        try #require(response.status == 200, "\(path): \(String(decoding: response.body, as: UTF8.self))")
        return JSONText(utf8: response.body)
    }

    /// The message of the refusal that the body ends with.
    func refusal(
        _ code: ConnectorError.Code, at location: SourceLocation = #_sourceLocation,
        of body: () async throws -> Void
    ) async throws -> String {
        let error = await #expect(throws: ConnectorError.self, sourceLocation: location) { try await body() }
        #expect(error?.code == code, sourceLocation: location)
        return error?.message ?? ""
    }
}
