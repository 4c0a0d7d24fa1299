/// Which deliveries are made when, and what comes of them.
extension World {
    /// The bell that calls the courier; whoever asked before is called no more.
    func openCourier() -> AsyncStream<Void> {
        let (bell, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        courier.bell?.finish()
        courier.bell = continuation
        courier.underway = 0
        continuation.yield()
        return bell
    }

    func ringCourier() { courier.bell?.yield() }

    /// The next delivery that is due, unless enough are being made.
    func takeDue() -> Delivery? {
        guard courier.underway < CourierState.atOnce, let first = courier.waiting.first, first.due <= instant() else {
            return nil
        }
        courier.underway += 1
        return courier.waiting.removeFirst()
    }

    /// How long the courier may sleep; none when something else calls it.
    func untilNextDue() -> Duration? {
        guard courier.underway < CourierState.atOnce, let first = courier.waiting.first else { return nil }
        return instant().duration(to: first.due)
    }

    /// The time by which the receiver judges a signature: he knows nothing of an advanced clock.
    func realTime() -> Int { configuration.clock() }

    /// Notes what came of one try to deliver; a status of 0 means that no answer came.
    func note(_ delivery: Delivery, status: Int) {
        defer { ringCourier() }
        courier.underway -= 1
        let tries = delivery.tries + 1
        courier.journal.append([
            "delivery": .integer(delivery.id), "at": .string(Timestamp.text(now())), "list": .string(delivery.list),
            "webhook": .string(delivery.webhook), "type": .string(delivery.type), "attempt": .integer(tries),
            "status": .integer(status), "body": .string(delivery.body),
        ])
        guard !(200..<300).contains(status) else {
            courier.delivered += 1
            change(delivery) { $0.failures = 0 }
            return
        }
        courier.refused += 1
        if status == 410 {
            courier.failed += 1
            disable(delivery, "it answered 410")
        } else if tries <= courier.settings.retries.count {
            repeatLater(delivery, tries)
        } else {
            giveUp(delivery)
        }
    }

    private func repeatLater(_ delivery: Delivery, _ tries: Int) {
        // The webhook may have been deleted or switched off in the meantime.
        let hook = audiences[delivery.list]?.webhooks.first { $0.id == delivery.webhook }
        guard let hook, hook.disabled == nil else { return }
        var again = delivery
        again.tries = tries
        again.due = instant() + courier.settings.retries[tries - 1]
        courier.waiting.insert(again)
    }

    private func giveUp(_ delivery: Delivery) {
        courier.failed += 1
        var failures = 0
        change(delivery) {
            $0.failures += 1
            failures = $0.failures
        }
        let limit = courier.settings.disabledAfter
        if limit > 0, failures >= limit { disable(delivery, "\(limit) deliveries in a row failed") }
    }

    private func disable(_ delivery: Delivery, _ reason: String) {
        change(delivery) { $0.disabled = $0.disabled ?? reason }
        courier.waiting.removeAll(for: delivery.webhook)
    }

    private func change(_ delivery: Delivery, _ body: (inout Webhook) -> Void) {
        guard let audience = audiences[delivery.list],
            let index = audience.webhooks.firstIndex(where: { $0.id == delivery.webhook })
        else { return }
        body(&audience.webhooks[index])
    }
}
