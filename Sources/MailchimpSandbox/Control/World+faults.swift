/// Faults through the control door.
extension World {
    func faultsDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count) {
        case ("GET", 1): return ["faults": .list(faults.faults.map(\.json))]
        case ("POST", 1):
            let body = try call.object()
            let seed = body["seed"]?.integer.map { UInt64(bitPattern: Int64($0)) } ?? generator.next()
            let fault = try faults.add { id throws(Problem) in try Fault(id: id, body, seed: seed) }
            return fault.json
        case ("DELETE", 1):
            faults.removeAll()
            return ["removed": true]
        case ("DELETE", 2):
            guard let id = Int(call.segments[1]), faults.remove(id) else { throw .notFound }
            return ["removed": .integer(id)]
        default: throw .notFound
        }
    }
}

extension Fault {
    init(id: Int, _ body: JSONObject, seed: UInt64) throws(Problem) {
        let known = Effect.allCases.map(\.rawValue).joined(separator: ", ")
        guard let effect = body["effect"]?.string.flatMap({ Effect(rawValue: $0) }) else {
            throw World.wrong("An effect is one of \(known).")
        }
        self.id = id
        self.effect = effect
        isAfterWork =
            switch body["when"]?.string {
            case "before": false
            case "after": true
            default: effect.isNaturallyAfterWork
            }
        milliseconds = body["milliseconds"]?.integer ?? 0
        remaining = body["count"]?.integer
        skip = body["skip"]?.integer ?? 0
        share = body["share"]?.double ?? 1
        generator = SeededGenerator(seed: seed)
        let match = body["match"]
        self.match.method = match?["method"]?.string
        self.match.pathPrefix = match?["path_prefix"]?.string
        self.match.route = match?["route"]?.string
        self.match.list = match?["list"]?.string
        self.match.bodyContains = match?["body_contains"]?.string
        if let member = match?["member"]?.string {
            self.match.member = member.contains("@") ? HexID(address: member) : HexID(hex: member)
            if self.match.member == nil { throw World.wrong("A member is matched by his address or its hash.") }
        }
    }

    var json: JSON {
        [
            "id": .integer(id), "effect": .string(effect.rawValue), "when": isAfterWork ? "after" : "before",
            "milliseconds": .integer(milliseconds), "remaining": remaining.map { .integer($0) } ?? .null,
            "skip": .integer(skip), "share": .number(share), "hits": .integer(hits),
            "match": [
                "method": match.method.map { .string($0) } ?? .null,
                "path_prefix": match.pathPrefix.map { .string($0) } ?? .null,
                "route": match.route.map { .string($0) } ?? .null, "list": match.list.map { .string($0) } ?? .null,
                "member": match.member.map { .string($0.hex) } ?? .null,
                "body_contains": match.bodyContains.map { .string($0) } ?? .null,
            ],
        ]
    }
}

extension Fault.Effect {
    /// Whether the fault only makes sense once there is an answer, or is meant to lose one.
    fileprivate var isNaturallyAfterWork: Bool {
        switch self {
        case .hang, .truncated, .malformed, .slow: true
        default: false
        }
    }
}
