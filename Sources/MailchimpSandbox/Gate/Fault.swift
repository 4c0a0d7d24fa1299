/// Something that goes wrong on purpose.
struct Fault: Sendable {
    enum Effect: String, Sendable, CaseIterable {
        case tooMany = "429"
        case tooManyEmpty = "429_empty"
        case forbiddenHTML = "403_html"
        case serverError = "500"
        case badGatewayHTML = "502_html"
        case unavailable = "503"
        case unavailableAkamai = "503_akamai"
        case complianceBlocked = "compliance"
        case hang
        case reset
        case truncated
        case malformed
        case slow
    }

    let id: Int
    let effect: Effect
    /// Whether the work is done before the fault shows.
    let isAfterWork: Bool
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
        var pathPrefix: String?
        var route: String?
        var list: String?
        var member: HexID?
        /// A text in the body, for calls that name their member only there.
        var bodyContains: String?
    }
}

/// The faults in force, in the order of their making; the first that meets a call has it.
struct FaultBook: Sendable {
    private(set) var faults: [Fault] = []
    private var nextID = 1

    mutating func add(_ make: (Int) throws(Problem) -> Fault) throws(Problem) -> Fault {
        let fault = try make(nextID)
        nextID += 1
        faults.append(fault)
        return fault
    }

    mutating func remove(_ id: Int) -> Bool {
        guard let index = faults.firstIndex(where: { $0.id == id }) else { return false }
        faults.remove(at: index)
        return true
    }

    mutating func removeAll() { faults = [] }

    mutating func meet(_ call: Call, _ endpoint: Endpoint?, member: HexID?) -> Fault? {
        for index in faults.indices where faults[index].matches(call, endpoint, member: member) {
            if faults[index].skip > 0 {
                faults[index].skip -= 1
                continue
            }
            if faults[index].remaining == 0 { continue }
            if faults[index].share < 1, faults[index].generator.share() >= faults[index].share { continue }
            faults[index].hits += 1
            if let remaining = faults[index].remaining { faults[index].remaining = remaining - 1 }
            return faults[index]
        }
        return nil
    }
}

extension Fault {
    func matches(_ call: Call, _ endpoint: Endpoint?, member hash: HexID?) -> Bool {
        if let method = match.method, method != call.method { return false }
        if let prefix = match.pathPrefix, !call.path.hasPrefix(prefix) { return false }
        if let route = match.route, route != endpoint?.template { return false }
        if let list = match.list, list != endpoint?.subject.list { return false }
        if let member = match.member, member != hash { return false }
        if let text = match.bodyContains, !String(decoding: call.body.bytes, as: UTF8.self).contains(text) {
            return false
        }
        return true
    }
}
