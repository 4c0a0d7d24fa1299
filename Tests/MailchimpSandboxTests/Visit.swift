import FoundationEssentials
import HTTPClient
import Testing

@testable import MailchimpSandbox

/// A sandbox of a test's own, with one list, and the ways to call it.
struct Visit {
    let sandbox: MailchimpSandbox
    let port: Int
    let list: String
    let http: HTTPClient
    var key = "00000000000000000000000000000001-us3"

    var members: String { "/3.0/lists/\(list)/members" }
    var door: String { "/sandbox/lists/\(list)" }

    func member(_ address: String) -> String { "\(members)/\(HexID(address: address).hex)" }

    /// Calls the API, or the control door, and reads the answer.
    @discardableResult
    func call(_ method: String, _ path: String, _ body: JSON? = nil, headers: [(name: String, value: String)]? = nil)
        async throws(HTTPError) -> Reading
    {
        try await send(method, path, body?.bytes, headers: headers ?? [("Authorization", "Bearer \(key)")])
    }

    /// Sends bytes and reads the answer; one of the API must have the official shape.
    func send(_ method: String, _ path: String, _ body: [UInt8]?, headers: [(name: String, value: String)])
        async throws(HTTPError) -> Reading
    {
        let url = "http://127.0.0.1:\(port)\(path)"
        let reading = Reading(
            try await http.send(HTTPRequest(method: method, url: url, headers: headers, body: body)))
        if path.hasPrefix(Call.marketing + "/"), await !sandbox.world.isSpoilt(path) {
            let override = headers.first { $0.name == "X-HTTP-Method-Override" }
            let faults = Conformance.faults(override?.value ?? method, path, reading)
            #expect(faults.isEmpty, "\(method) \(path), answered \(reading.status)")
        }
        return reading
    }

    /// Calls the control door, which must say yes.
    @discardableResult
    func control(_ method: String, _ path: String, _ body: JSON? = nil) async throws -> JSON {
        let reading = try await call(method, path, body)
        #expect(reading.status == 200, "\(method) \(path): \(reading.json)")
        return reading.json
    }

    /// Puts the sandbox's clock forward.
    @discardableResult
    func advance(_ seconds: Int) async throws -> JSON {
        try await control("POST", "/sandbox/clock", ["advance": .integer(seconds)])
    }

    /// Makes a contact in a given state by the ways in which it comes about.
    func make(_ address: String, _ state: State) async throws {
        switch state {
        case .absent: return
        case .subscribed, .cleaned, .pending, .transactional, .unsubscribedByAPI:
            let status = state == .unsubscribedByAPI ? "unsubscribed" : state.rawValue
            try await call("POST", members, ["email_address": .string(address), "status": .string(status)])
        case .unsubscribedByContact:
            try await make(address, .subscribed)
            try await control("POST", "\(door)/members/\(address)/contact/unsubscribe", [:])
        case .archived:
            try await make(address, .subscribed)
            try await call("DELETE", member(address))
        case .archivedAfterOwnNo:
            try await make(address, .unsubscribedByContact)
            try await call("DELETE", member(address))
        case .forgotten:
            try await make(address, .subscribed)
            try await call("POST", "\(member(address))/actions/delete-permanent")
        }
    }

    /// Where a contact can stand when a call comes.
    enum State: String, CaseIterable {
        case absent, subscribed, unsubscribedByAPI, unsubscribedByContact, cleaned, pending, transactional, archived
        case archivedAfterOwnNo, forgotten
    }
}

extension World {
    /// Whether a fault that was asked for made something else of the last answer to a path.
    func isSpoilt(_ target: String) -> Bool {
        let path = target.prefix { $0 != "?" }
        let fault = log.entries.newestFirst.first { $0.path == path }?.fault
        return fault.map { FaultEffect(rawValue: $0) != .hang && FaultEffect(rawValue: $0) != .slow } ?? false
    }
}

/// An answer, parsed.
struct Reading {
    let status: Int
    let json: JSON
    let response: HTTPResponse

    init(_ response: HTTPResponse) {
        status = response.status
        json = (try? JSON(parsing: response.body)) ?? .null
        self.response = response
    }

    subscript(key: String) -> JSON { json[key] ?? .null }
    var title: String { json["title"]?.string ?? "" }
}

/// Runs a test against a sandbox of its own.
func visit(
    _ change: (inout SandboxConfiguration) -> Void = { _ in }, connections: Int = 10,
    _ body: (Visit) async throws -> Void
) async throws {
    var configuration = SandboxConfiguration()
    configuration.key = "00000000000000000000000000000001-us3"
    configuration.seed = 1
    configuration.webhookRetries = [.milliseconds(20), .milliseconds(20)]
    change(&configuration)
    let sandbox = MailchimpSandbox(configuration: configuration)
    let port = try await sandbox.start()
    let list = await sandbox.addList(name: "News")
    let http = HTTPClient(connectionsPerHost: connections, allowPlaintext: true)
    let result: Result<Void, any Error>
    do {
        result = .success(try await body(Visit(sandbox: sandbox, port: port, list: list, http: http)))
    } catch {
        result = .failure(error)
    }
    http.shutdown()
    await sandbox.stop()
    try result.get()
}
