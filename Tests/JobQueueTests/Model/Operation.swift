import TestSupport

/// Something that happens to the queue.
///
/// Jobs and workers are named by their place, counted round, so that a sequence
/// stays meaningful when operations are taken out of it.
enum Operation: Hashable {
    case enqueue(QueueModel.Entry)
    case enqueueMany([QueueModel.Entry])
    case register(queue: String, kinds: [String])
    case claim(worker: Int, limit: Int, alone: Bool)
    /// Says the endings of the latest claims of a worker, of which others may have come into its place.
    case complete(worker: Int, [QueueModel.Ending])
    case abandon(worker: Int)
    case stop(worker: Int)
    case beat(worker: Int)
    /// A worker falls silent, and another beats.
    case kill(worker: Int, by: Int)
    case cancel(job: Int)
    case release(jobs: [Int])
    case retry(job: Int)
    case retryRejected(queue: String?, most: Int)
    case setLimit(key: String, concurrency: Int?, rate: Int?, period: Int?)
    case removeLimit(key: String)
    case pause(QueueModel.Pause)
    case resume(QueueModel.Pause)
    case jump(seconds: Int)
}

extension Seed {
    private mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }

    private mutating func number(below bound: Int) -> Int { Int.random(in: 0..<bound, using: &self) }

    private mutating func one<Value>(of values: Value...) -> Value { values[number(below: values.count)] }

    /// A few operations: a life of the queue.
    mutating func operations(_ count: Int) -> [Operation] {
        // Most lives begin with somebody to do the work.
        [.register(queue: "a", kinds: ["one", "two"]), .register(queue: "a", kinds: ["one"])]
            + (0..<count).map { _ in operation() }
    }

    private mutating func operation() -> Operation {
        switch number(below: 100) {
        case 0..<16: .enqueue(entry())
        case 16..<24: .enqueueMany((0..<number(below: 5)).map { _ in entry() })
        case 24..<28: .register(queue: one(of: "a", "a", "b"), kinds: one(of: ["one", "two"], ["one"], ["two"]))
        case 28..<46: .claim(worker: number(below: 6), limit: 1 + number(below: 4), alone: false)
        case 46..<50: .claim(worker: number(below: 6), limit: 1, alone: true)
        case 50..<65: .complete(worker: number(below: 6), (0..<1 + number(below: 4)).map { _ in ending() })
        case 65: .abandon(worker: number(below: 6))
        case 66..<68: .stop(worker: number(below: 6))
        case 68..<71: .beat(worker: number(below: 6))
        case 71..<77: .kill(worker: number(below: 6), by: number(below: 6))
        case 77..<80: .cancel(job: number(below: 20))
        case 80: .release(jobs: (0..<number(below: 4)).map { _ in number(below: 20) })
        case 81..<84: .retry(job: number(below: 20))
        case 84: .retryRejected(queue: one(of: nil, "a"), most: 1 + number(below: 3))
        case 85..<88: limit()
        case 88: .removeLimit(key: one(of: "l1", "l2"))
        case 89..<91: .pause(pause())
        case 91..<93: .resume(pause())
        default: .jump(seconds: one(of: 1, 2, 3, 5, 8, 12, 20))
        }
    }

    private mutating func entry() -> QueueModel.Entry {
        var entry = QueueModel.Entry(
            queue: chance(85) ? "a" : "b", kind: chance(2) ? "unknown" : one(of: "one", "one", "two"))
        entry.args = chance(80) ? [number(below: 100)] : nil
        if chance(50) {
            entry.key = one(of: "k1", "k2")
            entry.mode = one(of: "keep", "replace", "append")
        } else if chance(2) {
            entry.mode = "append"
        }
        if chance(40) { entry.orderKey = one(of: "o1", "o2") }
        if chance(40) { entry.limitKey = one(of: "l1", "l2") }
        if chance(30) { entry.priority = one(of: -1, 1) }
        if chance(30) { entry.ahead = one(of: nil, -5, 2, 10, 30) }
        entry.maxAttempts = one(of: 1, 2, 3, 20)
        return entry
    }

    private mutating func ending() -> QueueModel.Ending {
        switch number(below: 10) {
        case 0..<3: QueueModel.Ending(outcome: "done", delay: nil)
        case 3..<6: QueueModel.Ending(outcome: "retry", delay: one(of: 0, 3, 10, nil))
        case 6: QueueModel.Ending(outcome: "snooze", delay: one(of: 0, 5))
        case 7: QueueModel.Ending(outcome: "released", delay: nil)
        case 8: QueueModel.Ending(outcome: "rejected", delay: nil)
        default: QueueModel.Ending(outcome: "cancelled", delay: nil)
        }
    }

    /// Rates whose tokens grow by a binary fraction a second, so that sums of them are exact.
    private mutating func limit() -> Operation {
        let concurrency = chance(60) ? 1 + number(below: 2) : nil
        let isRated = concurrency == nil || chance(40)
        return .setLimit(
            key: one(of: "l1", "l2"), concurrency: concurrency, rate: isRated ? one(of: 1, 2) : nil,
            period: isRated ? one(of: 4, 8, 16) : nil)
    }

    private mutating func pause() -> QueueModel.Pause {
        one(
            of: .init(queue: "a"), .init(kind: "one"), .init(key: "k1"), .init(key: "o1"), .init(key: "l1"),
            .init(queue: "a", kind: "two"), .init(queue: "a", key: "o2"))
    }
}
