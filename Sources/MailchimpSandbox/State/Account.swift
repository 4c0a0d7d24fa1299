/// A customer of Mailchimp.
struct Account: Sendable {
    /// What the API answers to every call of the account.
    enum Standing: String, Sendable, CaseIterable {
        case good
        case userDisabled = "user_disabled"
        case complianceBlocked = "compliance_blocked"
    }

    let id: String
    let loginID: String
    var name: String
    /// One key for each integration; all belong to the same user and share his connections.
    var keys: [String]
    let dataCentre: String
    let created: Int
    var standing = Standing.good
}

/// The accounts and whose key is whose.
struct Accounts: Sendable {
    private(set) var all: [Account] = []
    private var byKey: [String: Int] = [:]

    mutating func add(_ account: Account) {
        for key in account.keys { byKey[key] = all.count }
        all.append(account)
    }

    func account(key: String) -> Account? { byKey[key].map { all[$0] } }

    func account(id: String) -> Account? { all.first { $0.id == id } }

    mutating func set(_ standing: Account.Standing, of id: String) {
        guard let index = all.firstIndex(where: { $0.id == id }) else { return }
        all[index].standing = standing
    }

    mutating func add(key: String, to id: String) {
        guard let index = all.firstIndex(where: { $0.id == id }) else { return }
        all[index].keys.append(key)
        byKey[key] = index
    }

    mutating func revoke(key: String) {
        guard let index = byKey.removeValue(forKey: key) else { return }
        all[index].keys.removeAll { $0 == key }
    }

    /// The end of a key: `us12` of `…-us12`.
    static func dataCentre(of key: String) -> String {
        guard let dash = key.lastIndex(of: "-"), key.index(after: dash) < key.endIndex else { return "us1" }
        return String(key[key.index(after: dash)...])
    }
}
