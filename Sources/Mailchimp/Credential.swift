/// What opens a Mailchimp account.
public enum Credential: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// A key that the user copied from Mailchimp.
    case apiKey(APIKey)
    /// A token that Mailchimp handed out by OAuth2, and the data centre that its metadata named.
    case accessToken(String, dataCentre: String)

    /// The data centre, such as `us12`.
    public var dataCentre: String {
        switch self {
        case .apiKey(let key): key.dataCentre
        case .accessToken(_, let dataCentre): dataCentre
        }
    }

    /// Mailchimp takes keys and tokens alike as a bearer token.
    var authorization: String {
        switch self {
        case .apiKey(let key): "Bearer \(key.secret)"
        case .accessToken(let token, _): "Bearer \(token)"
        }
    }

    /// The kind and the data centre, and nothing of the secret.
    public var description: String {
        switch self {
        case .apiKey(let key): key.description
        case .accessToken(_, let dataCentre): "access token of \(dataCentre)"
        }
    }

    /// The kind and the data centre, and nothing of the secret.
    public var debugDescription: String { description }
}

extension Credential: CustomReflectable {
    /// Hides the secret from whoever prints the credential by reflection.
    public var customMirror: Mirror { Mirror(self, children: ["dataCentre": dataCentre]) }
}
