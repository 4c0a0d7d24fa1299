/// All that the page shows at once, so that it asks for it once a second.
extension World {
    var overview: JSON {
        let lists = listOrder.compactMap { audiences[$0] }
        return [
            "clock": clock, "accounts": .list(accounts.all.map { json($0) }), "lists": .list(lists.map { json($0) }),
            "calls": [
                "total": .integer(log.total), "failed": .integer(log.failed),
                "open": .list(log.open.values.sorted { $0.sequence > $1.sequence }.prefix(40).map { openCall($0) }),
                "newest": .list(log.entries.newestFirst.prefix(60).map(\.json)),
            ],
            "connections": .integer(configuration.connectionsPerUser), "in_flight": byUser(audit.inFlight),
            "most_in_flight": byUser(audit.mostInFlight),
            "consent": [
                "against_known_no": .integer(audit.consent.counts[.knownNo, default: 0]),
                "no_in_between": .integer(audit.consent.counts[.noInBetween, default: 0]),
                "restored": .integer(audit.consent.restored), "refused": .integer(audit.refused),
            ],
            "faults": .list(faults.faults.prefix(100).map(\.json)),
            "effects": .strings(FaultEffect.allCases.map(\.rawValue)), "latency": latencyState,
            "webhooks": webhooksState, "deliveries": .list(courier.journal.newestFirst.prefix(8)),
            "switches": .list(
                SandboxSwitches.names.map { one in
                    [
                        "name": .string(one.name), "meaning": .string(one.meaning),
                        "value": .bool(switches[keyPath: one.path]),
                    ]
                }),
        ]
    }

    /// A call that has no answer yet.
    private func openCall(_ entry: RequestEntry) -> JSON {
        guard case .object(var object) = entry.json else { return .null }
        object["status"] = nil
        return .object(object)
    }
}
