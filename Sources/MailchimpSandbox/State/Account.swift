/// A customer of Mailchimp.
struct Account: Sendable {
    /// What the API answers to every call of the account.
    enum Standing: String, Sendable, CaseIterable {
        case good
        case userDisabled = "user_disabled"
        case complianceBlocked = "compliance_blocked"
    }

    let id: String
    var name: String
    let dataCentre: String
    let created: Int
    var standing = Standing.good
    /// Who works in it, the owner first.
    var users: [User]

    /// The keys of all users.
    var keys: [String] { users.flatMap(\.keys) }

    func user(id: String) -> User? { users.first { $0.id == id } }
}

/// Somebody who works in an account.
///
/// Keys and tokens are his and end with him, and the calls in flight are counted for him: over all of his keys and
/// tokens, whichever program has them.
struct User: Sendable {
    enum Role: String, Sendable, CaseIterable {
        case owner, admin, manager, author, viewer

        /// Whether the role may use the API.
        var mayCall: Bool { self != .author && self != .viewer }
    }

    /// A token that the user gave to an app.
    struct Token: Sendable {
        let value: String
        let app: String
    }

    /// The id of the login.
    let id: String
    var name: String
    var email: String
    var role: Role
    /// One key for each integration.
    var keys: [String]
    var tokens: [Token] = []

    /// The name in the login and in the answers of the API.
    var loginName: String { name.lowercased().replacing(" ", with: ".") }
}

/// The accounts and whose credential is whose.
struct Accounts: Sendable {
    private(set) var all: [Account] = []
    private var owners: [String: Owner] = [:]

    private struct Owner: Sendable {
        let account: Int
        let user: String
    }

    mutating func add(_ account: Account) {
        for user in account.users {
            for key in user.keys { owners[key] = Owner(account: all.count, user: user.id) }
        }
        all.append(account)
    }

    /// Whom a key or a token belongs to.
    func owner(of credential: String) -> (account: Account, user: User)? {
        guard let owner = owners[credential], let user = all[owner.account].user(id: owner.user) else { return nil }
        return (all[owner.account], user)
    }

    func account(id: String) -> Account? { all.first { $0.id == id } }

    mutating func set(_ standing: Account.Standing, of id: String) {
        guard let index = all.firstIndex(where: { $0.id == id }) else { return }
        all[index].standing = standing
    }

    mutating func add(_ user: User, to id: String) {
        guard let index = all.firstIndex(where: { $0.id == id }) else { return }
        all[index].users.append(user)
        for key in user.keys { owners[key] = Owner(account: index, user: user.id) }
    }

    mutating func set(_ role: User.Role, of user: String, in account: String) {
        change(user, in: account) { $0.role = role }
    }

    /// Takes a user out of an account, with everything that he had given out.
    mutating func remove(_ user: String, from id: String) {
        guard let index = all.firstIndex(where: { $0.id == id }) else { return }
        all[index].users.removeAll { $0.id == user }
        owners = owners.filter { $0.value.account != index || $0.value.user != user }
    }

    mutating func add(key: String, to user: String, in account: String) {
        owners[key] = change(user, in: account) { $0.keys.append(key) }
    }

    mutating func add(_ token: User.Token, to user: String, in account: String) {
        owners[token.value] = change(user, in: account) { $0.tokens.append(token) }
    }

    /// Ends a key or a token.
    mutating func revoke(_ credential: String) {
        guard let owner = owners.removeValue(forKey: credential),
            let user = all[owner.account].users.firstIndex(where: { $0.id == owner.user })
        else { return }
        all[owner.account].users[user].keys.removeAll { $0 == credential }
        all[owner.account].users[user].tokens.removeAll { $0.value == credential }
    }

    /// Ends all tokens that an app was given.
    mutating func revokeTokens(of app: String) {
        for token in all.flatMap(\.users).flatMap(\.tokens) where token.app == app { revoke(token.value) }
    }

    @discardableResult
    private mutating func change(_ id: String, in account: String, _ body: (inout User) -> Void) -> Owner? {
        guard let index = all.firstIndex(where: { $0.id == account }),
            let user = all[index].users.firstIndex(where: { $0.id == id })
        else { return nil }
        body(&all[index].users[user])
        return Owner(account: index, user: id)
    }

    /// The end of a key: `us12` of `…-us12`.
    static func dataCentre(of key: String) -> String {
        guard let dash = key.lastIndex(of: "-"), key.index(after: dash) < key.endIndex else { return "us1" }
        return String(key[key.index(after: dash)...])
    }
}
