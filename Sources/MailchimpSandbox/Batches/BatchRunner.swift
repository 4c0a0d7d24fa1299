/// Makes the calls of batches for as long as it runs, by the clock that can be put forward.
struct BatchRunner: Sendable {
    let world: World

    func run() async {
        let bell = await world.openBatches()
        var alarm: Task<Void, Never>?
        for await _ in bell {
            alarm?.cancel()
            var wait = await world.stepBatches()
            while wait == .zero, !Task.isCancelled { wait = await world.stepBatches() }
            alarm = wait.map { wait in
                Task {
                    guard (try? await Task.sleep(for: wait)) != nil else { return }
                    await world.ringBatches()
                }
            }
        }
        alarm?.cancel()
    }
}

extension World {
    /// The bell that calls the runner; whoever asked before is called no more.
    func openBatches() -> AsyncStream<Void> {
        let (bell, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        batches.bell?.finish()
        batches.bell = continuation
        continuation.yield()
        return bell
    }

    func ringBatches() { batches.bell?.yield() }

    /// Does the next thing that is due for the batch of each account whose turn it is.
    ///
    /// - Returns: how long there is nothing to do; none when there is no batch.
    func stepBatches() async -> Duration? {
        var wait: Duration?
        for batch in batches.current {
            let left = await step(batch)
            wait = min(wait ?? left, left)
        }
        return wait
    }

    private func step(_ former: Batch) async -> Duration {
        var batch = former
        let begins = batch.begins ?? max(batch.submitted + .milliseconds(Int(latency.batch)), instant())
        batch.begins = begins
        let due: ContinuousClock.Instant
        if let ended = batch.ended {
            due = ended + .milliseconds(Int(latency.batch / 4))
        } else {
            due = begins + .milliseconds(Int(latency.batchOperation * Double(batch.results.count + 1)))
        }
        if due > instant() {
            batches.change(batch)
            return instant().duration(to: due)
        }
        if batch.ended != nil {
            finish(&batch)
        } else if batch.results.count < batch.operations.count {
            await makeCall(&batch)
        } else {
            batch.ended = instant()
        }
        batches.change(batch)
        return .zero
    }

    private func makeCall(_ batch: inout Batch) async {
        let operation = batch.operations[batch.results.count]
        let call = operation.call
        var status: Int
        var text: [UInt8] = []
        do throws(Problem) {
            // A batch cannot hold another one.
            guard let endpoint = Endpoint(call.segments), endpoint != .batches else { throw .notFound }
            let answer = try await answer(call, to: endpoint)
            status = answer.status
            let selection = FieldSelection(fields: call.query["fields"], excluding: call.query["exclude_fields"])
            if let body = answer.body { text = selection.apply(to: body).bytes }
        } catch {
            status = error.status
            text = error.json(instance: "").bytes
            batch.errors += 1
        }
        audit.consent.leave(call.requestID, sighting: nil)
        batch.results.append([
            "status_code": .integer(status), "operation_id": .string(operation.id),
            "response": .string(String(decoding: text, as: UTF8.self)),
        ])
    }

    private func finish(_ batch: inout Batch) {
        batch.completedAt = now()
        // Nobody promises an order.
        var results = batch.results
        results.shuffle(using: &generator)
        batch.archive = BatchResults.archive(results, of: batch.id, losingFirst: batches.losesResults)
    }
}
