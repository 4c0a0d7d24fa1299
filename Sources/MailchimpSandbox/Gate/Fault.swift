/// Something that goes wrong on purpose: an effect, and the rule by which it meets calls.
struct Fault: Sendable {
    let id: Int
    let effect: FaultEffect
    /// Whether the work is done before the fault shows.
    let isAfterWork: Bool
    /// How long a fault that takes time takes.
    let milliseconds: Int
    var match = Match()
    /// How many matching calls it meets at most, from the next one on.
    var remaining: Int?
    /// How many matching calls it lets pass first.
    var skip = 0
    /// The share of matching calls that it meets.
    var share = 1.0
    var generator: SeededGenerator
    var hits = 0

    /// Which calls a fault can meet; what is not given matches all.
    struct Match: Sendable {
        var method: String?
        var path: String?
        var pathPrefix: String?
        var route: String?
        var list: String?
        /// A contact whom the path names, or one of those in the body.
        var member: HexID?
        /// Texts, for what nothing else tells apart.
        var queryContains: String?
        var bodyContains: String?
        var account: String?
        /// The login of the user whose key it is.
        var user: String?
    }
}

extension Fault.Match {
    /// Whether a call is one of those; the member is the one whom its path names.
    func includes(_ call: Call, query: String, _ endpoint: Endpoint?, member hash: HexID?) -> Bool {
        let texts: [(wanted: String?, found: String?)] = [
            (method, call.method), (path, call.path), (route, endpoint?.template), (list, endpoint?.subject.list),
            (account, call.account?.id), (user, call.user?.id),
        ]
        guard texts.allSatisfy({ $0.wanted == nil || $0.wanted == $0.found }) else { return false }
        if let pathPrefix, !call.path.hasPrefix(pathPrefix) { return false }
        if let queryContains, !query.contains(queryContains) { return false }
        if let member, member != hash, !call.body.names(member) { return false }
        if let bodyContains, !String(decoding: call.body.bytes, as: UTF8.self).contains(bodyContains) { return false }
        return true
    }
}

extension Call.Body {
    /// Whether the body holds the address of a contact where the API expects addresses.
    func names(_ member: HexID) -> Bool {
        guard case .json(let body) = content else { return false }
        let lists = ["members", "members_to_add", "members_to_remove", "static_segment"]
        let entries = [body] + lists.flatMap { body[$0]?.array ?? [] }
        return entries.contains { entry in
            (entry.string ?? entry["email_address"]?.string).map { HexID(address: $0) == member } ?? false
        }
    }
}
