/// From what happens to members to what their webhooks are sent.
extension World {
    func fire(_ event: MemberEvent, _ member: Member, _ audience: Audience, _ context: WriteContext) {
        guard context.firesWebhooks, !audience.webhooks.isEmpty else { return }
        for (type, fields) in notices(event, member, audience) {
            for hook in audience.webhooks where hook.disabled == nil && hook.events.contains(type) {
                // Nobody of the three sources cleans an address; the bounce does.
                guard type == "cleaned" || hook.sources.contains(context.party.source) else { continue }
                send(type, fields, to: hook, audience)
            }
        }
    }

    private typealias Notice = (type: String, fields: [(String, String)])

    private func notices(_ event: MemberEvent, _ member: Member, _ audience: Audience) -> [Notice] {
        switch event {
        case .profile: return [("profile", profile(member, audience))]
        case .address(let former):
            let change = [
                ("data[new_id]", member.uniqueEmailID), ("data[new_email]", member.address),
                ("data[old_email]", former),
                ("data[list_id]", audience.id),
            ]
            return [("upemail", change), ("profile", profile(member, audience))]
        case .status(_, .subscribed, _):
            return [("subscribe", profile(member, audience)), ("profile", profile(member, audience))]
        case .status(let former, .unsubscribed, let complaint):
            guard former != nil else { return [] }
            let how = [("data[action]", "unsub"), ("data[reason]", complaint ? "abuse" : "manual")]
            return [("unsubscribe", how + profile(member, audience))]
        case .status(let former, .archived, _):
            guard former == .subscribed || former == .transactional else { return [] }
            return [
                ("unsubscribe", [("data[action]", "delete"), ("data[reason]", "manual")] + profile(member, audience))
            ]
        case .status(_, .cleaned, let complaint):
            let how = [
                ("data[list_id]", audience.id), ("data[reason]", complaint ? "abuse" : "hard"),
                ("data[email]", member.address),
            ]
            return [("cleaned", how)]
        case .status(_, .pending, _), .status(_, .transactional, _): return []
        }
    }

    private func profile(_ member: Member, _ audience: Audience) -> [(String, String)] {
        var fields = [
            ("data[id]", member.uniqueEmailID), ("data[email]", member.address), ("data[email_type]", member.emailType),
            ("data[ip_opt]", member.ipOpt), ("data[web_id]", String(member.webID)),
            ("data[merges][EMAIL]", member.address),
        ]
        for (index, field) in audience.mergeFields.enumerated() {
            switch index < member.merge.count ? member.merge[index] : "" {
            case .object(let parts):
                for part in parts.pairs {
                    fields.append(("data[merges][\(field.tag)][\(part.key)]", part.value.string ?? ""))
                }
            case .string(let text): fields.append(("data[merges][\(field.tag)]", text))
            case let value: fields.append(("data[merges][\(field.tag)]", String(decoding: value.bytes, as: UTF8.self)))
            }
        }
        fields.append(("data[list_id]", audience.id))
        return fields
    }

    private func send(_ type: String, _ fields: [(String, String)], to hook: Webhook, _ audience: Audience) {
        courier.fired += 1
        guard generator.share() >= courier.dropShare else {
            courier.dropped += 1
            return
        }
        let all = [("type", type), ("fired_at", Timestamp.plain(now()))] + fields
        let body = all.map { "\(PercentCoding.encode($0.0))=\(PercentCoding.encode($0.1))" }.joined(separator: "&")
        let copies = generator.share() < courier.doubleShare ? 2 : 1
        for _ in 0..<copies {
            let delay = courier.shuffleMilliseconds * generator.share()
            courier.pending += 1
            courier.deliveries?.yield(
                Delivery(
                    list: audience.id, webhook: hook.id, url: hook.url, type: type, body: body,
                    delay: .milliseconds(Int(delay))))
        }
    }

    /// Whether a delivery is still wanted: its webhook may be gone or switched off.
    func isWanted(_ delivery: Delivery) -> Bool {
        audiences[delivery.list]?.webhooks.contains { $0.id == delivery.webhook && $0.disabled == nil } ?? false
    }

    /// Notes what came of one try to deliver; a status of 0 means that no answer came.
    func note(_ delivery: Delivery, attempt: Int, status: Int, isLast: Bool) {
        courier.journal.append([
            "at": .string(Timestamp.text(now())), "list": .string(delivery.list), "webhook": .string(delivery.webhook),
            "type": .string(delivery.type), "attempt": .integer(attempt), "status": .integer(status),
            "body": .string(delivery.body),
        ])
        let succeeded = (200..<300).contains(status)
        if succeeded { courier.delivered += 1 } else { courier.refused += 1 }
        if isLast || succeeded { courier.pending -= 1 }
        if isLast, !succeeded { courier.failed += 1 }
        guard let audience = audiences[delivery.list],
            let index = audience.webhooks.firstIndex(where: { $0.id == delivery.webhook })
        else { return }
        if succeeded {
            audience.webhooks[index].failures = 0
        } else if status == 410 {
            audience.webhooks[index].disabled = "it answered 410"
        } else if isLast {
            audience.webhooks[index].failures += 1
            let limit = configuration.webhookFailuresUntilDisabled
            if limit > 0, audience.webhooks[index].failures >= limit {
                audience.webhooks[index].disabled = "\(limit) deliveries in a row failed"
            }
        }
    }

    /// The deliveries to be made from now on; whoever asked before gets no more.
    func openDeliveries() -> AsyncStream<Delivery> {
        let (stream, continuation) = AsyncStream<Delivery>.makeStream()
        courier.deliveries?.finish()
        courier.deliveries = continuation
        courier.pending = 0
        return stream
    }

    /// Notes that a delivery is not made any more.
    func abandon(_ delivery: Delivery) { courier.pending -= 1 }
}
