/// Delivers webhooks for as long as it runs, many at a time and in no particular order, as the real ones come.
struct Courier: Sendable {
    let world: World
    let retries: [Duration]
    let timeout: Duration

    /// More at once would only meet the receiver's own limits.
    private static let atOnce = 128

    func run() async {
        let deliveries = await world.openDeliveries()
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for await delivery in deliveries {
                if running >= Self.atOnce {
                    await group.next()
                    running -= 1
                }
                running += 1
                group.addTask { await deliver(delivery) }
            }
            group.cancelAll()
        }
    }

    private func deliver(_ delivery: Delivery) async {
        if delivery.delay > .zero { try? await Task.sleep(for: delivery.delay) }
        for attempt in 0...retries.count {
            if attempt > 0 { try? await Task.sleep(for: retries[attempt - 1]) }
            guard !Task.isCancelled, await world.isWanted(delivery) else { return await world.abandon(delivery) }
            let headers = [("Content-Type", "application/x-www-form-urlencoded")]
            let status = try? await PlainHTTP.send(
                "POST", delivery.url, headers: headers, body: delivery.body, timeout: timeout)
            let isLast = attempt == retries.count || status == 410
            await world.note(delivery, attempt: attempt + 1, status: status ?? 0, isLast: isLast)
            if isLast || (200..<300).contains(status ?? 0) { return }
        }
    }
}
