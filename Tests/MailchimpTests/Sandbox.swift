import HTTPClient
import Mailchimp
import MailchimpSandbox
import Testing

/// A stand-in for Mailchimp with one list, and a client of it.
struct Sandbox {
    let client: MailchimpClient
    let list: String
    let http: HTTPClient
    let port: Int

    /// Runs a test against a sandbox of its own.
    static func run(
        key: String = "00000000000000000000000000000001-us1", switches: SandboxSwitches = SandboxSwitches(),
        _ body: (Sandbox) async throws -> Void
    ) async throws {
        var configuration = SandboxConfiguration()
        configuration.switches = switches
        let server = MailchimpSandbox(configuration: configuration)
        let port = try await server.start()
        let list = await server.addList(name: "Nieuwsbrief")
        let http = HTTPClient(allowPlaintext: true)
        let client = try MailchimpClient(
            credential: .apiKey(APIKey(key)), http: http, rootOverride: "http://127.0.0.1:\(port)/")
        let failure: (any Error)?
        do {
            try await body(Sandbox(client: client, list: list, http: http, port: port))
            failure = nil
        } catch {
            failure = error
        }
        http.shutdown()
        await server.stop()
        if let failure { throw failure }
    }

    /// Goes through the control door, as the contact, as an admin, or to make something fail.
    @discardableResult
    func control(_ method: String, _ path: String, _ json: String = "{}") async throws -> String {
        let request = HTTPRequest(
            method: method, url: "http://127.0.0.1:\(port)/sandbox\(path)",
            headers: [("Content-Type", "application/json")],
            body: method == "GET" ? nil : Array(json.utf8))
        let response = try await http.send(request)
        let answer = String(decoding: response.body, as: UTF8.self)
        try #require(response.status == 200, "\(path): \(answer)")
        return answer
    }

    /// Adds a subscribed contact through the API.
    @discardableResult
    func add(_ address: String, _ mergeFields: [String: MergeValue] = [:]) async throws -> Member {
        try await client.create(list, NewMember(emailAddress: address, mergeFields: mergeFields))
    }

    /// Lets the contact act for itself.
    func contact(_ address: String, _ act: String, _ json: String = "{}") async throws {
        try await control("POST", "/lists/\(list)/members/\(subscriberHash(address))/contact/\(act)", json)
    }

    /// Makes the next matching call fail.
    func fault(_ effect: String, when: String? = nil, milliseconds: Int = 0) async throws {
        let when = when.map { #","when":"\#($0)""# } ?? ""
        let json = #"{"effect":"\#(effect)","count":1,"milliseconds":\#(milliseconds)\#(when)}"#
        try await control("POST", "/faults", json)
    }
}

/// The error that a call ends with; a success fails the test.
func failure(
    at location: SourceLocation = #_sourceLocation, of call: () async throws -> Void
) async throws -> MailchimpError {
    let error = await #expect(throws: MailchimpError.self, sourceLocation: location) { try await call() }
    return try #require(error, sourceLocation: location)
}
