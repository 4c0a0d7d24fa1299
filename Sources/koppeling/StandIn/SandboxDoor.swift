import FoundationEssentials
import HTTPClient
import Postgres

/// The sandbox's control door: to act as a contact or an admin, and to look at what was received.
struct SandboxDoor: Sendable {
    /// A contact as the sandbox holds it.
    struct Contact: Sendable, Decodable {
        var email_address: String
        var contact_id: String
        var status: String
        var merge_fields: [String: String]
        var writes: Int
        var unchanged_writes: Int
    }

    let root: String
    let list: String
    let http: HTTPClient

    /// Makes a request at a path below `/sandbox/`.
    ///
    /// - Throws: ``Failure`` when the sandbox refuses it.
    @discardableResult
    func send(_ method: String, _ path: String, _ body: String? = nil) async throws -> JSONText {
        let request = HTTPRequest(
            method: method, url: "\(root)/sandbox/\(path)",
            headers: body == nil ? [] : [("Content-Type", "application/json")], body: body.map { Array($0.utf8) })
        let response = try await http.send(request)
        guard (200..<300).contains(response.status) else {
            throw Failure("the sandbox answered \(response.status) to \(method) \(path)")
        }
        return JSONText(utf8: response.body)
    }

    /// Does something as the contact itself.
    func asContact(_ act: String, _ address: String) async throws {
        try await send("POST", "lists/\(list)/members/\(address)/contact/\(act)", "{}")
    }

    /// Every contact of the list by address, in pages.
    func contacts() async throws -> [String: Contact] {
        struct Page: Decodable { var members: [Contact] }
        var all: [String: Contact] = [:]
        var offset = 0
        while true {
            let page: Page = try await send("GET", "lists/\(list)/members?count=1000&offset=\(offset)").decode()
            for contact in page.members { all[contact.email_address] = contact }
            guard page.members.count == 1000 else { return all }
            offset += 1000
        }
    }

    /// One contact, nil when the list has none at that address.
    func contact(_ address: String) async throws -> Contact? {
        let request = HTTPRequest(method: "GET", url: "\(root)/sandbox/lists/\(list)/members/\(address)")
        let response = try await http.send(request)
        return response.status == 404 ? nil : try JSONText(utf8: response.body).decode()
    }
}
