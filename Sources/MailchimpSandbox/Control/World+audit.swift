/// What the sandbox has watched, through the control door.
extension World {
    func auditDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count) {
        case ("GET", 1): return audit(mergeField: call.query["merge_field"])
        case ("GET", 2) where call.segments[1] == "repeats":
            return repeats(most: try call.query.number("count", default: 100, in: 0...10_000))
        case ("PUT", 1):
            guard let grace = try call.object()["grace_milliseconds"]?.integer, grace >= 0 else {
                throw Self.wrong("grace_milliseconds is a number of milliseconds.")
            }
            audit.consent.grace = .milliseconds(grace)
            return audit(mergeField: nil)
        case ("DELETE", 1):
            audit.reset()
            return ["reset": true]
        default: throw .notFound
        }
    }

    private func audit(mergeField tag: String?) -> JSON {
        let attempts = audit.attempts.ordered.map { attempt -> JSON in
            [
                "at": .string(Timestamp.text(attempt.at)), "no": .string(attempt.no),
                "no_at": .string(Timestamp.text(attempt.noAt)), "list": .string(attempt.list),
                "email_address": .string(attempt.address), "wanted": .string(attempt.wanted.rawValue),
                "carried_out": .bool(attempt.wasCarriedOut), "request": .string(attempt.request),
            ]
        }
        return [
            "subscribed_against_own_no": [
                "carried_out": .integer(audit.carriedOut), "refused": .integer(audit.refused),
                "asked_again": .integer(audit.askedAgain), "attempts": .list(attempts),
            ],
            "consent": consent,
            "duplicates": .array(listOrder.compactMap { audiences[$0] }.flatMap { duplicates($0, mergeField: tag) }),
            "most_in_flight": byUser(audit.mostInFlight), "in_flight": byUser(audit.inFlight),
        ]
    }

    private var consent: JSON {
        let audit = audit.consent
        let second = now()
        let cases = (audit.cases.ordered + audit.open.values.sorted { $0.at.tick < $1.at.tick }).map { found -> JSON in
            [
                "verdict": .string(found.verdict.rawValue), "at": .string(Timestamp.text(found.at.second)),
                "no": found.no.map { .string($0) } ?? .null, "no_at": .string(Timestamp.text(found.noAt)),
                "list": .string(found.list), "email_address": .string(found.address),
                "request": .string(found.request), "restored_at": .string(Timestamp.text(found.restoredAt)),
            ]
        }
        let late = audit.open.values.count { second - $0.at.second > ConsentAudit.restoring }
        return [
            "subscribed_against_known_no": .integer(audit.counts[.knownNo, default: 0]),
            "subscribed_without_read": .integer(audit.counts[.withoutRead, default: 0]),
            "no_in_between": [
                "count": .integer(audit.counts[.noInBetween, default: 0]), "restored": .integer(audit.restored),
                "restored_late": .integer(audit.restoredLate), "not_restored": .integer(late),
                "open": .integer(audit.open.count - late),
            ],
            "refused_attempts": .integer(self.audit.refused), "cases": .array(cases),
        ]
    }

    func byUser(_ counts: [String: Int]) -> JSON {
        .object(
            JSONObject(pairs: counts.sorted { $0.key < $1.key }.map { .init(key: $0.key, value: .integer($0.value)) }))
    }

    /// Live members that stand in a list twice: by address, by contact id and, when asked, by the value of a merge field.
    private func duplicates(_ audience: Audience, mergeField tag: String?) -> [JSON] {
        var seen: [String: String] = [:]
        var found: [JSON] = []
        func look(_ kind: String, _ value: String, _ address: String) {
            if let other = seen.updateValue(address, forKey: "\(kind) \(value)") {
                found.append([
                    "list": .string(audience.id), "same": .string(kind), "value": .string(value),
                    "email_addresses": [.string(other), .string(address)],
                ])
            }
        }
        let field = audience.mergeFields.firstIndex { $0.tag == tag }
        for case let member? in audience.members where member.status != .archived {
            look("email_address", member.address.lowercased(), member.address)
            look("contact_id", member.contactID.hex, member.address)
            guard let field, let tag, field < member.merge.count, member.merge[field] != "" else { continue }
            look(tag, String(decoding: member.merge[field].bytes, as: UTF8.self), member.address)
        }
        return found
    }

    /// The members that calls wrote more often than it changed them, worst first.
    private func repeats(most count: Int) -> JSON {
        var writes = WriteCounts()
        var worst: [(list: String, member: Member)] = []
        for audience in listOrder.compactMap({ audiences[$0] }) {
            for case let member? in audience.members where member.writes.all > 0 {
                writes.all += member.writes.all
                writes.unchanged += member.writes.unchanged
                writes.subscribing += member.writes.subscribing
                if member.writes.unchanged > 0 || member.writes.subscribing > 1 { worst.append((audience.id, member)) }
            }
        }
        worst.sort { $0.member.writes.unchanged > $1.member.writes.unchanged }
        let list = worst.prefix(count).map { entry -> JSON in
            [
                "list": .string(entry.list), "email_address": .string(entry.member.address),
                "writes": .integer(entry.member.writes.all), "unchanged": .integer(entry.member.writes.unchanged),
                "subscribing": .integer(entry.member.writes.subscribing),
            ]
        }
        return [
            "writes": .integer(writes.all), "unchanged": .integer(writes.unchanged),
            "subscribing": .integer(writes.subscribing), "members": .list(list),
        ]
    }
}
