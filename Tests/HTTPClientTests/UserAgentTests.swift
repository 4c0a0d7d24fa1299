import HTTPClient
import TestSupport
import Testing

@Suite struct UserAgentTests {
    @Test(arguments: [
        (nil, "Koppeling/1.0"), ("", "Koppeling/1.0"), (" \r\n", "Koppeling/1.0"),
        ("https://koppeling.example.org", "Koppeling/1.0 (+https://koppeling.example.org)"),
        ("beheer@example.org", "Koppeling/1.0 (+beheer@example.org)"),
        ("a)\r\nX: y\\(é", "Koppeling/1.0 (+aX:y)"),
        (String(repeating: "x", count: 201), "Koppeling/1.0 (+\(String(repeating: "x", count: 200)))"),
    ])
    func `A contact cannot reach beyond its brackets`(contact: String?, text: String) {
        #expect(UserAgent(contact: contact).description == text)
    }

    @Test func `A client introduces itself, unless the request does`() async throws {
        let server = try RawServer { $0.answerAll() }
        let client = HTTPClient(allowPlaintext: true, userAgent: UserAgent(contact: "https://koppeling.example.org"))
        defer { client.shutdown() }
        _ = try await client.send(HTTPRequest(url: server.url()))
        _ = try await client.send(HTTPRequest(url: server.url(), headers: [("User-Agent", "other")]))
        #expect(server.requests.count == 2)
        #expect(server.requests[0].contains("\r\nUser-Agent: Koppeling/1.0 (+https://koppeling.example.org)\r\n"))
        #expect(server.requests[1].contains("\r\nUser-Agent: other\r\n"))
        #expect(!server.requests[1].contains("Koppeling"))
    }

    @Test func `What is printed of a request holds none of its secrets`() {
        let request = HTTPRequest(
            method: "POST", url: "https://us1.example.org/3.0/secretpath?key=secretquery",
            headers: [("Authorization", "Bearer secrettoken")], body: Array("secretbody".utf8))
        var dumped = ""
        dump(request, to: &dumped)
        for text in ["\(request)", String(reflecting: request), dumped] {
            #expect(text.contains("POST us1.example.org:443"))
            #expect(!text.contains("secret"))
        }
        #expect("\(HTTPRequest(url: "https://user:secret@example.org/"))" == "GET (no usable address)")
    }
}
