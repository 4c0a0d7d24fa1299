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
        let known = FaultEffect.allCases.map(\.rawValue).joined(separator: ", ")
        guard let effect = body["effect"]?.string.flatMap({ FaultEffect(rawValue: $0) }) else {
            throw World.wrong("An effect is one of \(known).")
        }
        self.id = id
        self.effect = effect
        isAfterWork =
            switch body["when"] {
            case nil: effect.isNaturallyAfterWork
            case "before": false
            case "after": true
            default: throw World.wrong("when is before or after.")
            }
        if !isAfterWork, effect.needsAnswer {
            throw World.wrong("\(effect.rawValue) is done to an answer, so the work is done before it.")
        }
        let time = body["milliseconds"] ?? .integer(effect.standardMilliseconds)
        milliseconds = try World.milliseconds(time, "milliseconds")
        if let count = body["count"] { remaining = try World.count(count, "count") }
        skip = try World.count(body["skip"] ?? 0, "skip")
        share = try World.share(body["share"] ?? 1, "share")
        generator = SeededGenerator(seed: seed)
        match = try Match(body["match"]?.object ?? JSONObject())
        // A rule with a slip of the pen would meet more calls than were meant.
        let fields = ["effect", "when", "milliseconds", "count", "skip", "share", "seed", "match"]
        if let unknown = body.pairs.first(where: { !fields.contains($0.key) }) {
            throw World.wrong("A fault has no \(unknown.key), only \(fields.joined(separator: ", ")).")
        }
    }

    var json: JSON {
        [
            "id": .integer(id), "effect": .string(effect.rawValue), "when": isAfterWork ? "after" : "before",
            "milliseconds": .integer(milliseconds), "remaining": remaining.map { .integer($0) } ?? .null,
            "skip": .integer(skip), "share": .number(share), "hits": .integer(hits), "match": match.json,
        ]
    }
}

extension Fault.Match {
    private typealias Path = WritableKeyPath<Fault.Match, String?> & Sendable

    private static var texts: [(name: String, path: any Path)] {
        [
            ("method", \.method), ("path", \.path), ("path_prefix", \.pathPrefix), ("route", \.route),
            ("list", \.list), ("query_contains", \.queryContains), ("body_contains", \.bodyContains),
            ("account", \.account), ("user", \.user),
        ]
    }

    /// What a rule may name.
    static var names: [String] { texts.map(\.name) + ["member"] }

    init(_ body: JSONObject) throws(Problem) {
        for pair in body.pairs {
            guard let value = pair.value.string else { throw World.wrong("\(pair.key) of match is a text.") }
            if pair.key == "member" {
                member = value.contains("@") ? HexID(address: value) : HexID(hex: value)
                if member == nil { throw World.wrong("A member is matched by his address or its hash.") }
            } else if let known = Self.texts.first(where: { $0.name == pair.key }) {
                self[keyPath: known.path] = value
            } else {
                throw World.wrong("match has no \(pair.key), only \(Self.names.joined(separator: ", ")).")
            }
        }
    }

    var json: JSON {
        var object = JSONObject()
        for text in Self.texts {
            if let value = self[keyPath: text.path] { object.append(text.name, .string(value)) }
        }
        if let member { object.append("member", .string(member.hex)) }
        return .object(object)
    }
}
