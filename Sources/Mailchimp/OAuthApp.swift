import FoundationEssentials
public import HTTPClient

/// This program as Mailchimp knows it: it asks users for access to their accounts by OAuth2.
///
/// The user allows it in a browser, at ``authorizeURL(state:)``; Mailchimp sends the browser back with a code, which is
/// changed into a token. A token has no scope, does not expire, and is a credential like an API key.
public struct OAuthApp: Sendable, CustomStringConvertible {
    /// Where Mailchimp sends the browser back to: exactly the address that the app is registered with.
    public let redirectURI: String

    private let clientID: String
    private let clientSecret: String
    private let root: String
    private let http: HTTPClient

    /// Makes an app from what it is registered with.
    ///
    /// - Parameters:
    ///   - clientID: What Mailchimp calls the app.
    ///   - clientSecret: What proves to Mailchimp that it is the app who asks.
    ///   - redirectURI: Where the browser is sent back to; on one's own machine that is at 127.0.0.1, not localhost.
    ///   - http: The transport.
    ///   - rootOverride: An address in the place of Mailchimp's own, such as `http://127.0.0.1:8080`: a stand-in.
    public init(
        clientID: String, clientSecret: String, redirectURI: String, http: HTTPClient, rootOverride: String? = nil
    ) {
        self.clientID = clientID
        self.clientSecret = clientSecret
        self.redirectURI = redirectURI
        self.http = http
        var root = rootOverride ?? "https://login.mailchimp.com"
        for ending in ["/", "/3.0", "/"] where root.hasSuffix(ending) { root.removeLast(ending.count) }
        self.root = root + "/oauth2"
    }

    /// The scheme and host of the pages on which users allow the app.
    public var authorizeOrigin: String {
        let parts = root.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        return parts.prefix(3).joined(separator: "/")
    }

    /// Where the user's browser goes to allow the app; the state comes back with it.
    public func authorizeURL(state: String) -> String {
        let query = [
            ("response_type", "code"), ("client_id", clientID), ("redirect_uri", redirectURI), ("state", state),
        ]
        return "\(root)/authorize?\(Self.form(query))"
    }

    /// Changes the code that a browser brought into a token; a code can be changed once.
    ///
    /// - Throws: An error with the code `invalidGrant` when Mailchimp does not take the code, `invalidClient` when it does
    ///   not take the app.
    public func token(code: String) async throws(MailchimpError) -> AccessToken {
        let form = [
            ("grant_type", "authorization_code"), ("client_id", clientID), ("client_secret", clientSecret),
            ("redirect_uri", redirectURI), ("code", code),
        ]
        let response = try await send(
            "POST", "token", [("Content-Type", "application/x-www-form-urlencoded")], body: Array(Self.form(form).utf8))
        let answer = try? JSONDecoder().decode(TokenAnswer.self, from: Data(response.body))
        guard (200..<300).contains(response.status) else { throw Self.refusal(response, answer?.error) }
        if let token = answer?.token { return AccessToken(token) }
        if let error = answer?.error { throw Self.refusal(response, error) }
        throw .malformed("token", response.body, sideEffects: true)
    }

    /// Asks where the token's account is.
    ///
    /// - Throws: An error with the code `invalidKey` when the token is worth nothing: the answer to one has status 200 too.
    public func metadata(_ token: AccessToken) async throws(MailchimpError) -> OAuthMetadata {
        let response = try await send("GET", "metadata", [("Authorization", "OAuth \(token.text)")])
        guard (200..<300).contains(response.status) else { throw Classification.error(for: response) }
        guard let answer = try? JSONDecoder().decode(MetadataAnswer.self, from: Data(response.body)) else {
            throw .malformed("metadata", response.body, sideEffects: false)
        }
        guard answer.endpoint != nil else {
            throw MailchimpError(
                .invalidKey, status: response.status,
                detail: "The metadata names no address of the API: the token is no good."
            )
        }
        guard let dataCentre = answer.dataCentre.flatMap(APIKey.dataCentre) else {
            throw MailchimpError(
                .wrongDataCentre, status: response.status, detail: "The metadata names no data centre such as us12.")
        }
        return OAuthMetadata(dataCentre: dataCentre, loginID: answer.loginID, accountName: answer.accountName)
    }

    private func send(
        _ method: String, _ path: String, _ headers: [(name: String, value: String)], body: [UInt8]? = nil
    ) async throws(MailchimpError) -> HTTPResponse {
        do {
            return try await http.send(
                HTTPRequest(
                    method: method, url: "\(root)/\(path)", headers: headers + [("Accept", "application/json")],
                    // Somebody sits before a browser and waits.
                    body: body, timeout: .seconds(30), maximumBody: 1 << 16))
        } catch {
            throw MailchimpError(error)
        }
    }

    /// What a refused exchange means: its own names for it are the standard's, whatever else the body holds.
    private static func refusal(_ response: HTTPResponse, _ error: String?) -> MailchimpError {
        let usual = Classification.error(for: response)
        let code: MailchimpError.Code? =
            switch (error, response.status) {
            case ("invalid_client", _), ("unauthorized_client", _), (nil, 401): .invalidClient
            case (.some, ..<500), (nil, 400): .invalidGrant
            default: nil
            }
        guard let code else { return usual }
        // The words come from outside, and are not needed to know what to do.
        return MailchimpError(code, status: response.status, detail: "Mailchimp did not give a token for the code.")
    }

    private static func form(_ fields: [(name: String, value: String)]) -> String {
        fields.map { "\($0.name)=\(percentEncoded($0.value))" }.joined(separator: "&")
    }

    /// The address, and nothing of the secret.
    public var description: String { "OAuth app at \(redirectURI)" }
}

extension OAuthApp: CustomReflectable {
    /// Hides the secret from whoever prints the app by reflection.
    public var customMirror: Mirror { Mirror(self, children: ["redirectURI": redirectURI]) }
}

/// A token that Mailchimp handed out; it opens the account like an API key.
public struct AccessToken: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The token itself, for the Authorization header and to be sealed.
    public let text: String

    /// Takes a token.
    public init(_ text: String) { self.text = text }

    /// The kind, and nothing of the secret.
    public var description: String { "access token" }

    /// The kind, and nothing of the secret.
    public var debugDescription: String { description }
}

extension AccessToken: CustomReflectable {
    /// Hides the secret from whoever prints the token by reflection.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Where the account of a token is.
public struct OAuthMetadata: Sendable, Hashable {
    /// The data centre, such as `us12`.
    public var dataCentre: String
    /// The user who allowed the app.
    public var loginID: String?
    /// The account's name.
    public var accountName: String?
}

struct TokenAnswer: Decodable {
    var token: String?
    var error: String?

    private enum Key: String, CodingKey { case token = "access_token", error }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        token = values.filled(.token)
        error = values.filled(.error)
    }
}

struct MetadataAnswer: Decodable {
    var dataCentre: String?
    var endpoint: String?
    var loginID: String?
    var accountName: String?

    private enum Key: String, CodingKey { case dc, accountname, endpoint = "api_endpoint", login }
    private enum LoginKey: String, CodingKey { case id = "login_id" }

    init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        dataCentre = values.filled(.dc)
        endpoint = values.filled(.endpoint)
        accountName = values.filled(.accountname)
        let login = try? values.nestedContainer(keyedBy: LoginKey.self, forKey: .login)
        loginID = login?.filled(.id)
    }
}
