/// A program that asks users for access to their accounts.
struct OAuthApp: Sendable {
    let id: String
    var secret: String
    /// Where the browser is sent back to; a request must name exactly this address.
    var redirectURI: String
}

/// The apps, and the codes that wait to be changed into tokens.
struct OAuthBook: Sendable {
    /// What a user allowed, until the app fetches its token.
    struct Grant: Sendable {
        let app: String
        let account: String
        let user: String
        let expires: Int
    }

    /// How long a code can be used, in seconds.
    static let codeLifetime = 600

    private(set) var apps: [OAuthApp] = []
    private var grants: [String: Grant] = [:]

    func app(_ id: String) -> OAuthApp? { apps.first { $0.id == id } }

    /// Adds an app, or replaces the one with the same id.
    mutating func put(_ app: OAuthApp) {
        if let index = apps.firstIndex(where: { $0.id == app.id }) { apps[index] = app } else { apps.append(app) }
    }

    mutating func remove(_ id: String) {
        apps.removeAll { $0.id == id }
        grants = grants.filter { $0.value.app != id }
    }

    /// Keeps what a user allowed, and forgets what nobody fetched in time.
    mutating func allow(_ grant: Grant, code: String, at now: Int) {
        grants = grants.filter { now < $0.value.expires }
        grants[code] = grant
    }

    /// What a code stands for; it can be asked once.
    mutating func redeem(_ code: String, by app: String, at now: Int) -> Grant? {
        guard let grant = grants.removeValue(forKey: code), grant.app == app, now < grant.expires else { return nil }
        return grant
    }
}
