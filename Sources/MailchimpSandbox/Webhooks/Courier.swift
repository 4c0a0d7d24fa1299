/// Delivers webhooks for as long as it runs, many at a time and in no particular order, as the real ones come.
struct Courier: Sendable {
    let world: World

    func run() async {
        let bell = await world.openCourier()
        await withDiscardingTaskGroup { group in
            var alarm: Task<Void, Never>?
            for await _ in bell {
                alarm?.cancel()
                while let delivery = await world.takeDue() { group.addTask { await deliver(delivery) } }
                alarm = await world.untilNextDue().map { wait in
                    Task {
                        guard (try? await Task.sleep(for: wait)) != nil else { return }
                        await world.ringCourier()
                    }
                }
            }
            alarm?.cancel()
            group.cancelAll()
        }
    }

    private func deliver(_ delivery: Delivery) async {
        var headers = [("Content-Type", "application/x-www-form-urlencoded")]
        if let secret = delivery.secret {
            let signature = Signature.header(of: delivery.body, secret: secret, at: await world.realTime())
            headers.append((Signature.name, signature))
        }
        let status = try? await PlainHTTP.send(
            "POST", delivery.url, headers: headers, body: delivery.body, timeout: await world.courier.settings.timeout)
        guard !Task.isCancelled else { return }
        await world.note(delivery, status: status ?? 0)
    }
}
