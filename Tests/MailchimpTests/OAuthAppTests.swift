import HTTPClient
import Mailchimp
import MailchimpSandbox
import TestSupport
import Testing

@Suite("OAuth2") struct OAuthAppTests {
    private static let secret = "5ecre75ecre7"

    private func app(_ root: String?, _ http: HTTPClient) -> OAuthApp {
        OAuthApp(
            clientID: "12&34", clientSecret: Self.secret, redirectURI: "http://127.0.0.1:8080/back?a=b", http: http,
            rootOverride: root)
    }

    /// An app of a Mailchimp that gives this answer to everything.
    private func answering(
        _ status: String, _ body: String, headers: String = "Content-Type: application/json\r\n",
        _ test: (OAuthApp, RawServer) async throws -> Void
    ) async throws {
        let server = try RawServer { connection in
            while connection.request() != nil { connection.answer(body, status: status, headers: headers) }
        }
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        try await test(app("http://127.0.0.1:\(server.port)", http), server)
    }

    @Test func `The user's browser goes to Mailchimp's own address with everything encoded`() {
        let http = HTTPClient()
        defer { http.shutdown() }
        let tail =
            "/oauth2/authorize?response_type=code&client_id=12%2634"
            + "&redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2Fback%3Fa%3Db&state=s%3D1"
        #expect(app(nil, http).authorizeURL(state: "s=1") == "https://login.mailchimp.com" + tail)
        #expect(app(nil, http).authorizeOrigin == "https://login.mailchimp.com")
        for root in ["http://127.0.0.1:9", "http://127.0.0.1:9/", "http://127.0.0.1:9/3.0", "http://127.0.0.1:9/3.0/"] {
            #expect(app(root, http).authorizeURL(state: "s=1") == "http://127.0.0.1:9" + tail)
            #expect(app(root, http).authorizeOrigin == "http://127.0.0.1:9")
        }
    }

    @Test func `A code is changed by a form, with the secret in no address`() async throws {
        try await answering("200 OK", #"{"access_token": "t0ken", "expires_in": 0, "scope": null}"#) { app, server in
            let token = try await app.token(code: "c&d")
            #expect(token.text == "t0ken")
            let request = try #require(server.requests.first)
            #expect(request.hasPrefix("POST /oauth2/token HTTP/1.1\r\n"))
            #expect(request.contains("grant_type=authorization_code&client_id=12%2634&client_secret=\(Self.secret)"))
            #expect(request.hasSuffix("&code=c%26d"))
        }
    }

    @Test(arguments: [
        ("400 Bad Request", #"{"error": "invalid_grant"}"#, MailchimpError.Code.invalidGrant),
        ("400 Bad Request", "", .invalidGrant), ("400 Bad Request", "<html>", .invalidGrant),
        ("403 Forbidden", #"{"error": "invalid_grant"}"#, .invalidGrant),
        ("200 OK", #"{"error": "invalid_grant"}"#, .invalidGrant),
        ("401 Unauthorized", #"{"error": "invalid_client"}"#, .invalidClient),
        ("400 Bad Request", #"{"error": "unauthorized_client"}"#, .invalidClient),
        ("401 Unauthorized", "", .invalidClient),
        ("200 OK", "{}", .malformedResponse), ("200 OK", "", .malformedResponse),
        ("200 OK", #"{"access_token": ""}"#, .malformedResponse), ("200 OK", "[1", .malformedResponse),
        ("502 Bad Gateway", "<html>", .overloaded), ("403 Forbidden", "<html>Reference #18", .overloaded),
        ("503 Service Unavailable", #"{"error": "temporarily_unavailable"}"#, .overloaded),
    ])
    func `What is refused says whether the code, the app or the moment is wrong`(
        status: String, body: String, code: MailchimpError.Code
    ) async throws {
        try await answering(status, body) { app, _ in
            let error = try await failure { _ = try await app.token(code: "c0de") }
            #expect(error.code == code)
            #expect(!"\(error) \(error.detail)".contains("c0de") && !"\(error) \(error.detail)".contains(Self.secret))
        }
    }

    @Test(arguments: [
        (#"{"error": "invalid_token"}"#, MailchimpError.Code.invalidKey), ("{}", .invalidKey),
        (#"{"dc": "us3", "api_endpoint": null}"#, .invalidKey), (#"{"dc": "us3", "api_endpoint": ""}"#, .invalidKey),
        (#"{"dc": "evil.test/", "api_endpoint": "https://evil.test"}"#, .wrongDataCentre),
        (#"{"api_endpoint": "https://us3.api.mailchimp.com"}"#, .wrongDataCentre),
        ("", .malformedResponse), ("<html>", .malformedResponse), ("[]", .malformedResponse),
        ("null", .malformedResponse),
    ])
    func `Metadata with status 200 may say that the token is no good, or lead nowhere`(
        body: String, code: MailchimpError.Code
    ) async throws {
        try await answering("200 OK", body) { app, server in
            let error = try await failure { _ = try await app.metadata(AccessToken("t0ken")) }
            #expect(error.code == code)
            #expect(server.requests.first?.contains("Authorization: OAuth t0ken\r\n") == true)
        }
    }

    @Test func `The data centre is the metadata's, and the numbers of its login may be text or not`() async throws {
        for login in ["123", #""123""#] {
            let body =
                #"{"dc": "us3", "api_endpoint": "https://us3.api.mailchimp.com", "login": {"login_id": \#(login)}}"#
            try await answering("200 OK", body) { app, _ in
                let metadata = try await app.metadata(AccessToken("t0ken"))
                #expect(metadata.dataCentre == "us3")
                #expect(metadata.loginID == "123")
            }
        }
        try await answering("200 OK", #"{"dc": "us3", "api_endpoint": "x", "login": null}"#) { app, _ in
            let metadata = try await app.metadata(AccessToken("t0ken"))
            #expect(metadata.loginID == nil)
        }
    }

    @Test func `An answer that is too large, and one that leads elsewhere, are not followed`() async throws {
        try await answering("200 OK", String(repeating: " ", count: 100_000)) { app, _ in
            let error = try await failure { _ = try await app.metadata(AccessToken("t0ken")) }
            #expect(error.cause?.code == .tooLarge)
        }
        let elsewhere = "Location: http://127.0.0.1:1/\r\n"
        try await answering("302 Found", "", headers: elsewhere) { app, server in
            _ = try await failure { _ = try await app.metadata(AccessToken("t0ken")) }
            #expect(server.requests.count == 1)
        }
    }

    @Test func `Neither the secret nor a token is ever printed`() {
        let http = HTTPClient()
        defer { http.shutdown() }
        let app = app(nil, http)
        let token = AccessToken("t0ken")
        var dumped = "\(app) \(String(reflecting: app)) \(token) \(String(reflecting: token))"
        dump(app, to: &dumped)
        dump(token, to: &dumped)
        #expect(!dumped.contains(Self.secret) && !dumped.contains("t0ken"))
    }
}
