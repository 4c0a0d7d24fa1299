/// What is received and how it is answered, through the control door.
extension World {
    func requestsDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count) {
        case ("GET", 1): return try requests(call.query)
        case ("GET", 2) where call.segments[1] == "counts": return counts
        case ("DELETE", 1):
            log.reset()
            return ["reset": true]
        default: throw .notFound
        }
    }

    private func requests(_ query: Query) throws(Problem) -> JSON {
        let since = try query.number("since", default: 0, in: 0...Int.max)
        let count = try query.number("count", default: 1000, in: 0...100_000)
        let status = query["status"].flatMap { Int($0) }
        let member = query["member"].map { $0.contains("@") ? HexID(address: $0).hex : $0 }
        let found = log.entries.newestFirst.lazy.filter { entry in
            entry.sequence > since && (query["method"] ?? entry.method) == entry.method
                && (query["route"] ?? entry.route) == entry.route && (status ?? entry.status) == entry.status
                && (member == nil || member == entry.member) && (query["list"] == nil || query["list"] == entry.list)
        }
        let newest = Array(found.prefix(count))
        return ["requests": .list(newest.reversed().map(\.json)), "total": .integer(log.total)]
    }

    private var counts: JSON {
        let kinds = log.counts.sorted {
            ($0.key.route, $0.key.method, $0.key.status) < ($1.key.route, $1.key.method, $1.key.status)
        }
        let list = kinds.map { kind, count -> JSON in
            [
                "method": .string(kind.method), "route": .string(kind.route), "status": .integer(kind.status),
                "count": .integer(count),
            ]
        }
        return ["counts": .array(list), "total": .integer(log.total)]
    }

    func latencyDoor(_ call: Call) throws(Problem) -> JSON {
        if call.method == "PUT" {
            let body = try call.object()
            latency = body["preset"] == "realistic" ? .realistic : SandboxLatency()
            for (name, path) in SandboxLatency.names {
                guard let value = body[name] else { continue }
                guard let milliseconds = value.double, milliseconds >= 0 else {
                    throw Self.wrong("\(name) is a number of milliseconds.")
                }
                latency[keyPath: path] = milliseconds
            }
        }
        return latencyState
    }

    var latencyState: JSON {
        .object(
            JSONObject(
                pairs: SandboxLatency.names.map { .init(key: $0.name, value: .number(latency[keyPath: $0.path])) }))
    }

    func switchesDoor(_ call: Call) throws(Problem) -> JSON {
        if call.method == "PATCH" {
            let body = try call.object()
            switch body["preset"]?.string {
            case nil: break
            case "likely": switches = SandboxSwitches()
            case "permissive": switches = .permissive
            case "strict": switches = .strict
            default: throw Self.wrong("A preset is one of likely, permissive, strict.")
            }
            for pair in body.pairs where pair.key != "preset" {
                guard let known = SandboxSwitches.names.first(where: { $0.name == pair.key }),
                    let value = pair.value.bool
                else {
                    throw Self.wrong("There is no switch \(pair.key), or its value is not true or false.")
                }
                switches[keyPath: known.path] = value
            }
        }
        return .object(
            JSONObject(
                pairs: SandboxSwitches.names.map { .init(key: $0.name, value: .bool(switches[keyPath: $0.path])) }))
    }

    func throttledDoor(_ call: Call) throws(Problem) -> JSON {
        guard call.method == "PUT", let addresses = try call.object()["addresses"]?.array else { throw .notFound }
        throttledAddresses = Set(addresses.compactMap { $0.string.map { HexID(address: $0) } })
        return ["addresses": .integer(throttledAddresses.count)]
    }
}
