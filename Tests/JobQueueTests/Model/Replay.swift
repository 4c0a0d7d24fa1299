/// Carries operations out, on the database and on the model, and compares the two.
struct Replay {
    let queue: QueueUnderTest
    private(set) var model = QueueModel()

    init(_ queue: QueueUnderTest) {
        self.queue = queue
    }

    /// Carries the operations out on an empty queue, then lets everything run that can.
    ///
    /// - Returns: what does not agree, after which operation; nil when all does.
    static func run(
        _ operations: [Operation], on queue: QueueUnderTest, comparing: Bool, thoroughly: Bool = false
    ) async throws -> (step: Int, what: String)? {
        try await queue.empty(thoroughly: thoroughly)
        var replay = Replay(queue)
        for (step, operation) in operations.enumerated() {
            do {
                try await replay.perform(operation)
                if comparing { try await replay.compare() }
            } catch {
                return (step, "\(error)")
            }
        }
        do {
            try await replay.compare()
            try await replay.finish()
            try await replay.compare()
        } catch {
            return (operations.count, "at the end: \(error)")
        }
        return nil
    }

    mutating func perform(_ operation: Operation) async throws {
        switch operation {
        case .enqueue(let entry):
            try model.enqueue([entry], answered: try await queue.enqueue(entry))
        case .enqueueMany(let entries):
            try model.enqueue(entries, answered: try await queue.enqueue(entries))
        case .register(let name, let kinds):
            let (worker, consumer) = try await queue.register(queue: name, kinds: kinds, as: "w\(model.workers.count)")
            model.workers.append(
                QueueModel.Worker(id: worker, consumer: consumer, queue: name, kinds: kinds, heartbeat: model.now))
        case .cancel, .release, .retry: try await administer(operation)
        case .retryRejected(let name, let most):
            try model.retryRejected(
                queue: name, most: most, answered: try await queue.retryRejected(queue: name, most: most))
        case .setLimit, .removeLimit, .pause, .resume: try await hold(operation)
        case .jump(let seconds):
            model.now += seconds * QueueModel.second
            try await queue.setClock(model.now / QueueModel.second)
        default: try await work(operation)
        }
    }

    private mutating func administer(_ operation: Operation) async throws {
        guard !model.jobs.isEmpty else { return }
        let count = model.jobs.count
        switch operation {
        case .cancel(let job):
            try model.cancel(job % count, answered: try await queue.cancel(model.jobs[job % count].id))
        case .release(let jobs):
            let places = jobs.map { $0 % count }
            try model.release(places, answered: try await queue.release(places.map { model.jobs[$0].id }))
        case .retry(let job):
            try model.retry(job % count, answered: try await queue.retry(model.jobs[job % count].id))
        default: break
        }
    }

    private mutating func hold(_ operation: Operation) async throws {
        switch operation {
        case .setLimit(let key, let concurrency, let rate, let period):
            try await queue.setLimit(key, concurrency: concurrency, rate: rate, period: period)
            model.setLimit(key, concurrency: concurrency, rate: rate, period: period)
        case .removeLimit(let key):
            let isGone = try await queue.removeLimit(key)
            guard isGone == (model.limits.removeValue(forKey: key) != nil) else {
                throw QueueModel.Disagreement("removing a limit answered \(isGone)")
            }
        case .pause(let pause):
            try await queue.pause(pause)
            model.pauses.insert(pause)
        case .resume(let pause):
            let isGone = try await queue.resume(pause)
            guard isGone == (model.pauses.remove(pause) != nil) else {
                throw QueueModel.Disagreement("resuming answered \(isGone)")
            }
        default: break
        }
    }

    private mutating func work(_ operation: Operation) async throws {
        guard !model.workers.isEmpty else { return }
        func place(_ worker: Int) -> Int { worker % model.workers.count }
        switch operation {
        case .claim(let worker, let limit, let alone):
            let worker = place(worker)
            // What a limit has let through may be held back by something else since. Then the net lets others through that
            // workers draw now and then; without limits every gate must have been opened at once.
            if model.hadLimits { try await queue.openStaleGates() }
            if limit == 1, !alone, !model.due(model.workers[worker], limit: 1, alone: false).isEmpty {
                guard try await queue.isToldOfWork(model.workers[worker]) ?? true else {
                    throw QueueModel.Disagreement("a worker that waits is not told of work")
                }
            }
            try model.claim(
                worker, limit: limit, alone: alone,
                answered: try await queue.claim(model.workers[worker], limit: limit, alone: alone))
        case .complete(let worker, let endings): try await complete(place(worker), endings)
        case .abandon(let worker):
            try model.abandon(
                place(worker), "released", answered: try await queue.abandon(model.workers[place(worker)]))
        case .stop(let worker):
            try model.stop(place(worker), answered: try await queue.stop(model.workers[place(worker)]))
        case .beat(let worker): try await beat(place(worker))
        case .kill(let worker, let other):
            if place(worker) != place(other) {
                try await queue.silence(model.workers[place(worker)])
                model.workers[place(worker)].heartbeat = model.now - 60 * QueueModel.second
            }
            try await beat(place(other))
        default: break
        }
    }

    private mutating func beat(_ worker: Int) async throws {
        let answer = try await queue.beat(model.workers[worker])
        try model.beat(worker, answered: answer.isAlive, answer.rescued)
    }

    private mutating func complete(_ worker: Int, _ endings: [QueueModel.Ending]) async throws {
        var said: [(job: Int64, claim: Int, ending: QueueModel.Ending)] = []
        for (claim, ending) in zip(model.workers[worker].claims.reversed(), endings)
        where !said.contains(where: { $0.job == claim.job }) {
            // What is folded away while it waits by chance would make the moment of another one a matter of chance.
            let hasKey = model.index(of: claim.job).map { model.jobs[$0].entry.key != nil } ?? false
            var ending = ending
            if ending.outcome == "retry", hasKey { ending.delay = ending.delay ?? 6 }
            said.append((claim.job, claim.claim, ending))
        }
        let ids = try await queue.complete(model.workers[worker], said)
        let byPolicy = said.filter { $0.ending.outcome == "retry" && $0.ending.delay == nil }.map(\.job)
        let waits = byPolicy.isEmpty ? [:] : try await queue.runAt(byPolicy)
        try model.complete(worker, said, answered: ids, waits: waits)
    }

    // MARK: Comparing

    private func compare() async throws {
        let found = try await queue.lines()
        let expected = model.lines()
        guard found != expected else { return }
        let missing = expected.filter { !found.contains($0) }
        let surplus = found.filter { !expected.contains($0) }
        throw QueueModel.Disagreement(
            "the database has\n    \(surplus.joined(separator: "\n    "))\n  instead of\n    "
                + missing.joined(separator: "\n    "))
    }

    /// Lifts what holds jobs back, lets time pass, and runs what waits: nothing may be left.
    private mutating func finish() async throws {
        for key in model.limits.keys.sorted() { try await perform(.removeLimit(key: key)) }
        for pause in model.pauses { try await perform(.resume(pause)) }
        for worker in model.workers.indices where model.workers[worker].ending == nil {
            try await perform(.stop(worker: worker))
        }
        try await perform(.jump(seconds: 100))
        for name in ["a", "b"] {
            try await perform(.register(queue: name, kinds: ["one", "two"]))
            let worker = model.workers.count - 1
            var idle = 0
            while idle < 2 {
                let isAlone = idle == 1
                let before = model.workers[worker].claims.count
                try await perform(.claim(worker: worker, limit: isAlone ? 1 : 3, alone: isAlone))
                let count = model.workers[worker].claims.count - before
                idle = count == 0 ? idle + 1 : 0
                let done = QueueModel.Ending(outcome: "done", delay: nil)
                try await perform(.complete(worker: worker, Array(repeating: done, count: count)))
            }
        }
        if let stuck = model.jobs.first(where: { !$0.isFinished && $0.runAt < QueueModel.parked }) {
            throw QueueModel.Disagreement("job \(stuck.id) is left: \(stuck)")
        }
    }
}

extension QueueModel {
    /// All there is, a line each.
    func lines() -> [String] {
        let jobs = jobs.map { job in
            let state =
                switch job.state {
                case .waiting: "waiting"
                case .running: "running"
                case .finished(let outcome): outcome
                }
            let entry = job.entry
            let attempts = job.attempts.sorted().joined(separator: ",")
            let parts: [String?] = [
                "job", "\(job.id)", state, entry.queue, entry.kind, entry.key, entry.orderKey, entry.limitKey,
                "\(entry.priority)", "\(job.attempt)/\(entry.maxAttempts)", "\(job.snoozes)",
                job.runAt == Self.parked ? "parked" : "\(job.runAt)", Self.text(entry.args),
                job.foldedInto.map { "into \($0)" }, attempts.isEmpty ? nil : attempts,
            ]
            return parts.compactMap { $0 }.joined(separator: " ")
        }
        return (jobs + workers.map { "worker \($0.id) \($0.ending ?? "alive")" }).sorted()
    }
}
