/// Webhooks through the control door: what is to go wrong with them, what became of them, and events of one's own.
extension World {
    func webhooksDoor(_ call: Call) throws(Problem) -> JSON {
        switch (call.method, call.segments.count, call.segments.last) {
        case ("GET", 1, _): break
        case ("PUT", 1, _): courier.settings = try changed(CourierState.Settings(configuration), call.object())
        case ("PATCH", 1, _): courier.settings = try changed(courier.settings, call.object())
        case ("GET", 2, "deliveries"): return ["deliveries": .list(courier.journal.ordered)]
        case ("GET", 2, "waiting"):
            let now = instant()
            return ["waiting": .list(courier.waiting.next(1000).map { json($0, now) })]
        default: throw .notFound
        }
        return webhooksState
    }

    var webhooksState: JSON {
        let settings = courier.settings
        return [
            "drop_share": .number(settings.dropShare), "double_share": .number(settings.doubleShare),
            "shuffle_milliseconds": .number(settings.shuffleMilliseconds),
            "hurried": .bool(settings.retries == WebhookSchedule.hurried),
            "pauses": .list(settings.retries.map { .number($0 / .seconds(1)) }),
            "disabled_after": .integer(settings.disabledAfter),
            "timeout_milliseconds": .integer(Int(settings.timeout / .milliseconds(1))),
            "fired": .integer(courier.fired),
            "dropped": .integer(courier.dropped), "delivered": .integer(courier.delivered),
            "failed_attempts": .integer(courier.refused), "given_up": .integer(courier.failed),
            "pending": .integer(courier.pending),
        ]
    }

    private func changed(_ former: CourierState.Settings, _ body: JSONObject) throws(Problem)
        -> CourierState.Settings
    {
        var settings = former
        for pair in body.pairs {
            switch (pair.key, pair.value) {
            case ("drop_share", let value): settings.dropShare = try Self.share(value, pair.key)
            case ("double_share", let value): settings.doubleShare = try Self.share(value, pair.key)
            case ("shuffle_milliseconds", let value):
                settings.shuffleMilliseconds = Double(try Self.milliseconds(value, pair.key))
            case ("timeout_milliseconds", let value):
                settings.timeout = .milliseconds(try Self.milliseconds(value, pair.key))
            case ("hurried", .bool(let isHurried)):
                settings.retries = isHurried ? WebhookSchedule.hurried : WebhookSchedule.faithful
            case ("disabled_after", .integer(let count)) where count >= 0: settings.disabledAfter = count
            default:
                throw Self.wrong(
                    "There is no setting \(pair.key) of webhooks with such a value; there are drop_share, double_share, "
                        + "shuffle_milliseconds, timeout_milliseconds, hurried and disabled_after.")
            }
        }
        return settings
    }

    /// Sends an event that nothing in the list caused, such as one of a type that the receiver should ignore.
    func sendEvent(_ body: JSONObject, _ audience: Audience) throws(Problem) -> JSON {
        guard let type = body["type"]?.string, !type.isEmpty else { throw Self.wrong("Give the type of the event.") }
        var fields: [(String, String)] = []
        for pair in body["data"]?.object?.pairs ?? [] {
            guard let value = pair.value.string else { throw Self.wrong("data holds texts; \(pair.key) is none.") }
            fields.append(("data[\(pair.key)]", value))
        }
        if body["data"]?["list_id"] == nil { fields.append(("data[list_id]", audience.id)) }
        let receivers = audience.webhooks.filter { hook in
            hook.disabled == nil && (hook.events.contains(type) || !Webhook.eventNames.contains(type))
        }
        for hook in receivers { send(type, fields, to: hook, audience) }
        return ["sent": .integer(receivers.count)]
    }

    private func json(_ delivery: Delivery, _ now: ContinuousClock.Instant) -> JSON {
        [
            "delivery": .integer(delivery.id), "list": .string(delivery.list), "webhook": .string(delivery.webhook),
            "type": .string(delivery.type), "tries": .integer(delivery.tries),
            "due_in_seconds": .number(max(0, now.duration(to: delivery.due) / .seconds(1))),
        ]
    }
}
