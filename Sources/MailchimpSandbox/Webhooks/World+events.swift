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
        fields += groupings(member, audience)
        fields.append(("data[list_id]", audience.id))
        return fields
    }

    /// The interests that the contact has chosen, a grouping for each question.
    private func groupings(_ member: Member, _ audience: Audience) -> [(String, String)] {
        let choices = audience.choices
        return choices.categories.enumerated().flatMap { index, category -> [(String, String)] in
            let chosen = choices.interests(of: category.id).filter { member.agreements.interests.contains($0.id) }
            let name = "data[merges][GROUPINGS][\(index)]"
            return [
                ("\(name)[id]", String(HexID(digest: Array(category.id.utf8)).low % 100_000)),
                ("\(name)[unique_id]", category.id), ("\(name)[name]", category.title),
                ("\(name)[groups]", chosen.map(\.name).joined(separator: ", ")),
            ]
        }
    }

    /// Now, as the receiver reads it who is told no zone.
    private var firedAt: Int { switches.firedAtIsLocal ? CentralEuropeanTime.local(now()) : now() }

    /// Puts an event on its way to one receiver; what is to go wrong on purpose is decided here.
    func send(_ type: String, _ fields: [(String, String)], to hook: Webhook, _ audience: Audience) {
        courier.fired += 1
        let settings = courier.settings
        guard courier.noise.share() >= settings.dropShare, courier.waiting.count < CourierState.mostWaiting else {
            courier.dropped += 1
            return
        }
        let all = [("type", type), ("fired_at", Timestamp.plain(firedAt))] + fields
        let body = all.map { "\(PercentCoding.encode($0.0))=\(PercentCoding.encode($0.1))" }.joined(separator: "&")
        let copies = courier.noise.share() < settings.doubleShare ? 2 : 1
        for _ in 0..<copies {
            let delay = Int(settings.shuffleMilliseconds * courier.noise.share())
            courier.waiting.insert(
                Delivery(
                    id: courier.nextID(), list: audience.id, webhook: hook.id, url: hook.url, type: type, body: body,
                    secret: hook.secret, due: instant() + .milliseconds(delay)))
        }
        ringCourier()
    }
}
