import FoundationEssentials

/// What was found out about a call before its work.
struct Admission: Sendable {
    var call: Call
    let endpoint: Endpoint?
    let fault: Fault?
    let entry: RequestEntry
    /// The answer, when the work is not to be done at all.
    let refusal: Problem?
    /// The time before the work, in milliseconds, and the time for each member.
    let latency: (base: Double, member: Double)
    let closesConnection: Bool
}

extension World {
    /// Lets a call in or says why not; either way it is in flight until ``finish(_:status:milliseconds:)``.
    func admit(_ call: Call, query: String) -> Admission {
        var call = call
        let endpoint = Endpoint(call.segments)
        var refusal: Problem?
        do {
            (call.account, call.user) = try authenticate(call)
        } catch {
            refusal = error
        }
        var inFlight = 0
        if let account = call.account, let user = call.user {
            inFlight = audit.begin(user.id)
            if inFlight > configuration.connectionsPerUser {
                refusal = .tooManyConnections(configuration.connectionsPerUser)
            } else {
                refusal = standing(account) ?? (user.role.mayCall ? nil : .forbidden)
            }
        }
        if refusal == nil, let title = call.triggeredError { refusal = .triggered(title) }
        if call.methodOverride != nil, refusal == nil {
            if call.method == "POST" { call.method = call.methodOverride ?? "POST" } else { refusal = .methodOverride }
        }
        if refusal == nil, endpoint == nil {
            refusal = call.segments.count > Endpoint.deepest ? .nestingTooDeep : .notFound
        }
        audit.consent.arrive(call.requestID, second: now())
        let subject = endpoint?.subject
        let member = subject?.member.flatMap { hash(of: $0, in: subject?.list) }
        let entry = RequestEntry(
            sequence: log.nextSequence(), at: now(), method: call.method, path: call.path, query: query,
            route: endpoint?.template ?? "unknown", list: subject?.list, member: member?.hex, account: call.account?.id,
            inFlight: inFlight, bodySize: call.body.bytes.count)
        log.begin(entry)
        return Admission(
            call: call, endpoint: endpoint, fault: faults.meet(call, query: query, endpoint, member: member),
            entry: entry,
            refusal: refusal, latency: times(call, endpoint), closesConnection: switches.closesConnections)
    }

    func finish(_ admission: Admission, status: Int, milliseconds: Int, sighting: Sighting?) {
        audit.consent.leave(admission.call.requestID, sighting: sighting)
        if let user = admission.call.user { audit.end(user.id) }
        var entry = admission.entry
        entry.status = status
        entry.fault = admission.fault?.effect.rawValue
        entry.milliseconds = milliseconds
        log.append(entry)
    }

    /// The account and the user of a call's credentials.
    private func authenticate(_ call: Call) throws(Problem) -> (Account, User) {
        guard let owner = accounts.owner(of: try Self.key(call)) else { throw .keyInvalid }
        return owner
    }

    private static func key(_ call: Call) throws(Problem) -> String {
        let fromQuery = call.method == "GET" ? call.query["apikey"] : nil
        guard let header = call.authorization else {
            guard let fromQuery else { throw .keyMissing }
            return fromQuery
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2 else { throw .keyInvalid }
        let value = String(parts[1].trimming)
        let key: String
        switch parts[0].lowercased() {
        case "bearer", "oauth", "apikey": key = value
        case "basic":
            guard let data = Data(base64Encoded: value), let colon = data.firstIndex(of: UInt8(ascii: ":")) else {
                throw .keyInvalid
            }
            key = String(decoding: data[data.index(after: colon)...], as: UTF8.self)
        default: throw .keyInvalid
        }
        // Credentials that contradict each other are no credentials.
        if let fromQuery, fromQuery != key { throw .keyInvalid }
        return key
    }

    private func standing(_ account: Account) -> Problem? {
        switch account.standing {
        case .good: nil
        case .userDisabled: .userDisabled
        case .complianceBlocked: .complianceBlocked
        }
    }

    private func hash(of reference: String, in list: String?) -> HexID? {
        if reference.contains("@") { return HexID(address: reference) }
        guard let id = HexID(hex: reference) else { return nil }
        guard let audience = list.flatMap({ audiences[$0] }), let slot = audience.slot(reference: reference) else {
            return id
        }
        return audience.member(at: slot)?.hash
    }

    private func times(_ call: Call, _ endpoint: Endpoint?) -> (base: Double, member: Double) {
        switch (endpoint, call.method) {
        case (.list, "POST"): (latency.bulk, latency.bulkMember)
        case (.members, "GET"): (latency.page, latency.pageMember)
        default: (latency.single, 0)
        }
    }
}
