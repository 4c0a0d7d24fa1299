/// The queue as the documents describe it, kept in plain memory.
///
/// It knows nothing of the SQL. Every operation is told what the database answered, throws when the rules do not allow
/// that answer, and changes the state as the rules say. Moments are microseconds since the beginning of the sequence.
struct QueueModel {
    static let second = 1_000_000
    static let parked = Int.max
    static let deadAfter = 15 * second

    struct Entry: Hashable {
        var queue: String
        var kind: String
        /// Nil is the empty object, which nothing can be appended to.
        var args: [Int]?
        var key: String?
        var mode = "keep"
        var orderKey: String?
        var limitKey: String?
        var priority = 0
        /// Seconds from now; nil is parked.
        var ahead: Int? = 0
        var maxAttempts = 20
    }

    struct Job {
        enum State: Equatable {
            case waiting
            case running(worker: Int)
            case finished(String)
        }

        var id: Int64
        var entry: Entry
        var runAt: Int
        var state = State.waiting
        var attempt = 0
        var claim = 0
        var snoozes = 0
        /// Deaths of its worker while it ran, but for those in company after the first.
        var deaths = 0
        var isAlone = false
        var isCancellationWanted = false
        var finishedAt: Int?
        /// The job into which it was folded.
        var foldedInto: Int64?
        /// How its attempts ended; the last is that of the run that finished it.
        var attempts: [String] = []

        var isWaiting: Bool { state == .waiting }
        var isRunning: Bool { if case .running = state { true } else { false } }
        var isFinished: Bool { if case .finished = state { true } else { false } }
    }

    struct Worker {
        var id: Int64
        var consumer: Int64
        var queue: String
        var kinds: [String]
        var heartbeat: Int
        var ending: String?
        /// Every claim it ever made, held or not.
        var claims: [(job: Int64, claim: Int)] = []
    }

    struct Limit {
        var concurrency: Int?
        var rate: Int?
        var period = 0
        var tokens = 0.0
        var filledAt = 0
    }

    struct Pause: Hashable {
        var queue: String?
        var kind: String?
        var key: String?
    }

    /// An answer that the rules do not allow.
    struct Disagreement: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    var now = 0
    /// In the order of their numbers.
    var jobs: [Job] = []
    var workers: [Worker] = []
    var limits: [String: Limit] = [:]
    var pauses: Set<Pause> = []
    var hadLimits = false

    func index(of id: Int64) -> Int? { jobs.firstIndex { $0.id == id } }

    func waiting(_ queue: String, _ key: String) -> Int? {
        jobs.firstIndex { $0.isWaiting && $0.entry.queue == queue && $0.entry.key == key }
    }
}

// MARK: Enqueueing

extension QueueModel {
    /// Whether these entries must be refused, all of them.
    func mustRefuse(_ entries: [Entry]) -> Bool {
        var seen: [[String]: Entry] = [:]
        for entry in entries {
            if entry.kind == "unknown" { return true }
            if entry.mode == "append", entry.key == nil || entry.args == nil { return true }
            guard let key = entry.key else { continue }
            if let first = seen[[entry.queue, key]] {
                if first.mode != entry.mode || entry.mode == "append" && first.kind != entry.kind { return true }
            }
            seen[[entry.queue, key]] = entry
            if entry.mode == "append", let waiting = waiting(entry.queue, key) {
                if jobs[waiting].entry.kind != entry.kind || jobs[waiting].entry.args == nil { return true }
            }
        }
        return false
    }

    /// Nil for the ids is a refusal.
    mutating func enqueue(_ entries: [Entry], answered ids: [Int64]?) throws(Disagreement) {
        guard let ids else {
            guard mustRefuse(entries) else { throw Disagreement("refused what may be enqueued") }
            return
        }
        guard !mustRefuse(entries) else { throw Disagreement("accepted what must be refused") }
        guard ids.count == entries.count else { throw Disagreement("\(entries.count) entries got \(ids.count) ids") }
        for (entry, id) in zip(entries, ids) {
            if let key = entry.key, let waiting = waiting(entry.queue, key) {
                guard jobs[waiting].id == id else {
                    throw Disagreement("absorbed by \(id) although \(jobs[waiting].id) waits with the key")
                }
                absorb(entry, at: waiting)
            } else {
                guard jobs.allSatisfy({ $0.id < id }) else { throw Disagreement("a new job is \(id)") }
                jobs.append(Job(id: id, entry: entry, runAt: runAt(entry)))
            }
        }
    }

    private mutating func absorb(_ entry: Entry, at place: Int) {
        switch entry.mode {
        case "append":
            jobs[place].entry.mode = "append"
            jobs[place].entry.priority = min(jobs[place].entry.priority, entry.priority)
            jobs[place].entry.args = jobs[place].entry.args.map { $0 + (entry.args ?? []) }
        case "replace":
            let priority = min(jobs[place].entry.priority, entry.priority)
            jobs[place].entry = entry
            jobs[place].entry.priority = priority
            jobs[place].runAt = runAt(entry)
            jobs[place].attempt = 0
            jobs[place].deaths = 0
        default: break
        }
    }

    private func runAt(_ entry: Entry) -> Int {
        entry.ahead.map { now + $0 * Self.second } ?? Self.parked
    }
}

// MARK: What a person does

extension QueueModel {
    mutating func cancel(_ place: Int, answered isCancelled: Bool) throws(Disagreement) {
        let job = jobs[place]
        guard isCancelled == !job.isFinished else {
            throw Disagreement("cancelling job \(job.id), which is \(job.state), answered \(isCancelled)")
        }
        if job.isWaiting {
            finish(place, "cancelled")
        } else if job.isRunning {
            jobs[place].isCancellationWanted = true
        }
    }

    mutating func release(_ places: [Int], answered count: Int) throws(Disagreement) {
        let parked = Set(places).filter { jobs[$0].isWaiting && jobs[$0].runAt == Self.parked }
        guard parked.count == count else { throw Disagreement("\(count) released of \(parked.count) parked ones") }
        for place in parked { jobs[place].runAt = now }
    }

    /// Nil for the number is a refusal.
    mutating func retry(_ place: Int, answered id: Int64?) throws(Disagreement) {
        guard case .finished(let outcome) = jobs[place].state, outcome != "done" else {
            if let id { throw Disagreement("job \(jobs[place].id) runs again as \(id), though it is not to") }
            return
        }
        let key = jobs[place].entry.key
        let expected = key.flatMap { waiting(jobs[place].entry.queue, $0) }.map { jobs[$0].id } ?? jobs[place].id
        guard id == expected else { throw Disagreement("retried as \(id ?? 0), not \(expected)") }
        jobs[place].state = .waiting
        jobs[place].runAt = now
        jobs[place].attempt = 0
        jobs[place].deaths = 0
        jobs[place].finishedAt = nil
        jobs[place].foldedInto = nil
        settle(place)
    }

    mutating func retryRejected(queue: String?, most: Int, answered count: Int) throws(Disagreement) {
        let rejected = jobs.indices.filter {
            jobs[$0].state == .finished("rejected") && (queue == nil || jobs[$0].entry.queue == queue)
        }.sorted { (jobs[$0].finishedAt ?? 0, jobs[$0].id) < (jobs[$1].finishedAt ?? 0, jobs[$1].id) }
        guard count == min(most, rejected.count) else {
            throw Disagreement("\(count) run again of \(rejected.count) rejected ones")
        }
        for place in rejected.prefix(most) {
            let key = jobs[place].entry.key
            let id = key.flatMap { waiting(jobs[place].entry.queue, $0) }.map { jobs[$0].id } ?? jobs[place].id
            try retry(place, answered: id)
        }
    }

    mutating func finish(_ place: Int, _ outcome: String) {
        jobs[place].state = .finished(outcome)
        jobs[place].finishedAt = now
        jobs[place].isCancellationWanted = false
        jobs[place].isAlone = false
    }

    /// A job that waits again is folded into the one that waits with its key by now.
    mutating func settle(_ place: Int) {
        let entry = jobs[place].entry
        guard let key = entry.key,
            let other = jobs.indices.first(where: {
                $0 != place && jobs[$0].isWaiting && jobs[$0].entry.queue == entry.queue && jobs[$0].entry.key == key
            })
        else { return }
        let (older, newer) = (min(place, other), max(place, other))
        if jobs[newer].entry.mode != "replace" {
            jobs[other].runAt = min(jobs[other].runAt, jobs[place].runAt)
            if jobs[newer].entry.mode == "append", jobs[newer].entry.kind == jobs[older].entry.kind,
                let first = jobs[older].entry.args, let second = jobs[newer].entry.args
            {
                jobs[other].entry.args = first + second
                jobs[other].entry.mode = "append"
            }
        } else if newer == place {
            // It has the place of the older one and all else of the newer one.
            let priority = min(jobs[other].entry.priority, entry.priority)
            jobs[other].entry = entry
            jobs[other].entry.priority = priority
            jobs[other].attempt = jobs[place].attempt
            jobs[other].deaths = jobs[place].deaths
            jobs[other].runAt = jobs[place].runAt
        }
        jobs[place].foldedInto = jobs[other].id
        finish(place, "cancelled")
    }
}

extension QueueModel.Entry: CustomStringConvertible {
    /// Only what is not the default.
    var description: String {
        var parts = ["\(queue) \(kind) \(QueueModel.text(args))"]
        if let key { parts.append("key \(key) \(mode)") }
        if let orderKey { parts.append("order \(orderKey)") }
        if let limitKey { parts.append("limit \(limitKey)") }
        if priority != 0 { parts.append("priority \(priority)") }
        if ahead != 0 { parts.append(ahead.map { "in \($0) s" } ?? "parked") }
        if maxAttempts != 20 { parts.append("at most \(maxAttempts)") }
        return parts.joined(separator: ", ")
    }
}
