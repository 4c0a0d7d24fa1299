import Connector
import HTTPClient
import MailchimpSandbox
import Postgres
import Testing

/// A sandbox that listens, with what talks to it.
struct SandboxAtWork: Sendable {
    static let key = "00000000000000000000000000000001-us1"

    let server: MailchimpSandbox
    let port: Int
    let http: HTTPClient
    let vault: Vault

    var root: String { "http://127.0.0.1:\(port)" }

    /// Runs the body with a sandbox of its own.
    static func run(
        switches: (inout SandboxSwitches) -> Void = { _ in }, _ body: (SandboxAtWork) async throws -> Void
    ) async throws {
        var configuration = SandboxConfiguration()
        configuration.controlDoorIsOpen = true
        switches(&configuration.switches)
        let server = MailchimpSandbox(configuration: configuration)
        let sandbox = SandboxAtWork(
            server: server, port: try await server.start(), http: HTTPClient(allowPlaintext: true),
            vault: try Vault(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="))
        let result: Result<Void, any Error>
        do { result = .success(try await body(sandbox)) } catch { result = .failure(error) }
        sandbox.http.shutdown()
        await server.stop()
        try result.get()
    }

    /// Goes through the control door.
    @discardableResult
    func control(_ method: String, _ path: String, _ json: String? = nil) async throws -> JSONText {
        let response = try await http.send(
            HTTPRequest(
                method: method, url: "\(root)/sandbox/\(path)", headers: [("Content-Type", "application/json")],
                body: json.map { Array($0.utf8) }))
        try #require(response.status == 200, "\(path): \(response.text)")
        return JSONText(utf8: response.body)
    }

    /// Deletes by the API, as somebody in Mailchimp's own pages would.
    func delete(_ path: String) async throws {
        let response = try await http.send(
            HTTPRequest(
                method: "DELETE", url: "\(root)/3.0/\(path)", headers: [("Authorization", "Bearer \(Self.key)")]))
        try #require(response.status == 204, "\(path): \(response.text)")
    }
}
