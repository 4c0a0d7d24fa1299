/// Claiming, completing, living and dying, by the rules.
extension QueueModel {
    /// One job as a claim handed it out.
    struct Claimed: Hashable {
        var id: Int64
        var claim: Int
        var attempt: Int
        var args: String
    }

    /// What a worker says of a job.
    struct Ending: Hashable {
        var outcome: String
        /// Seconds; nil leaves the wait of a retry to the policy of the kind.
        var delay: Int?
    }

    // MARK: Claiming

    /// The jobs that a claim takes, in order.
    func due(_ worker: Worker, limit: Int, alone: Bool) -> [Int] {
        var taken: [Int] = []
        var limits = limits.mapValues { limit in
            (
                room: limit.concurrency ?? Int.max,
                tokens: limit.rate == nil ? Double.infinity : tokens(limit)
            )
        }
        for job in jobs where job.isRunning {
            if let key = job.entry.limitKey { limits[key]?.room -= 1 }
        }
        let candidates = jobs.indices.filter { place in
            let job = jobs[place]
            return job.isWaiting && job.entry.queue == worker.queue && worker.kinds.contains(job.entry.kind)
                && job.runAt <= now && (job.deaths > 0) == alone && !isHeldByOrder(job)
                && !isPaused(job)
        }.sorted {
            (jobs[$0].entry.priority, jobs[$0].runAt, jobs[$0].id)
                < (jobs[$1].entry.priority, jobs[$1].runAt, jobs[$1].id)
        }
        for place in candidates where taken.count < limit {
            if let key = jobs[place].entry.limitKey, let limit = limits[key] {
                guard limit.room > 0, limit.tokens >= 1 else { continue }
                limits[key] = (limit.room - 1, limit.tokens - 1)
            }
            taken.append(place)
        }
        return taken
    }

    private func isHeldByOrder(_ job: Job) -> Bool {
        guard let key = job.entry.orderKey else { return false }
        return jobs.contains { other in
            !other.isFinished && other.id != job.id && other.entry.queue == job.entry.queue
                && other.entry.orderKey == key
                && (other.isRunning || other.id < job.id && other.runAt < Self.parked)
        }
    }

    private func isPaused(_ job: Job) -> Bool {
        pauses.contains { pause in
            (pause.queue == nil || pause.queue == job.entry.queue)
                && (pause.kind == nil || pause.kind == job.entry.kind)
                && (pause.key == nil || [job.entry.key, job.entry.orderKey, job.entry.limitKey].contains(pause.key))
        }
    }

    private func tokens(_ limit: Limit) -> Double {
        guard let rate = limit.rate else { return 0 }
        return min(Double(rate), limit.tokens + Double(rate) * Double(now - limit.filledAt) / Double(limit.period))
    }

    /// Nil for the jobs is a refusal: the worker is not registered any more.
    mutating func claim(
        _ number: Int, limit: Int, alone: Bool, answered claimed: [Claimed]?
    ) throws(Disagreement) {
        let worker = workers[number]
        guard let claimed else {
            guard worker.ending != nil else { throw Disagreement("a worker that lives may not claim") }
            return
        }
        guard worker.ending == nil else { throw Disagreement("a worker that is gone has claimed") }
        let places = due(worker, limit: limit, alone: alone)
        let expected = places.map { place in
            Claimed(
                id: jobs[place].id, claim: jobs[place].claim + 1, attempt: jobs[place].attempt + 1,
                args: Self.text(jobs[place].entry.args))
        }
        // A claim that meets jobs which may not start may be content with fewer, but not with none, nor with others.
        guard expected.starts(with: claimed), claimed.isEmpty == expected.isEmpty else {
            throw Disagreement("claimed \(claimed), not \(expected)")
        }
        for place in places.prefix(claimed.count) {
            jobs[place].state = .running(worker: number)
            jobs[place].attempt += 1
            jobs[place].claim += 1
            jobs[place].isAlone = alone
            workers[number].claims.append((jobs[place].id, jobs[place].claim))
            if let key = jobs[place].entry.limitKey, let limit = limits[key], limit.rate != nil {
                let left = tokens(limit) - 1
                limits[key]?.tokens = left
                limits[key]?.filledAt = now
            }
        }
    }

    static func text(_ args: [Int]?) -> String {
        args.map { "\($0)" } ?? "{}"
    }

    // MARK: Completing

    /// The completions count whose claim still holds; `waits` says when jobs are due that wait by a policy.
    mutating func complete(
        _ number: Int, _ endings: [(job: Int64, claim: Int, ending: Ending)], answered ids: Set<Int64>,
        waits: [Int64: Int]
    ) throws(Disagreement) {
        var valid: [(place: Int, ending: Ending)] = []
        for (id, claim, ending) in endings {
            guard let place = index(of: id), jobs[place].claim == claim,
                jobs[place].state == .running(worker: number)
            else { continue }
            valid.append((place, ending))
        }
        let expected = Set(valid.map { jobs[$0.place].id })
        guard ids == expected else { throw Disagreement("completed \(ids.sorted()), not \(expected.sorted())") }
        var dueAt: [Int: Int] = [:]
        for (place, ending) in valid where ending.outcome == "retry" || ending.outcome == "snooze" {
            if let delay = ending.delay {
                dueAt[place] = now + delay * Self.second
            } else if let wait = waits[jobs[place].id] {
                // Four seconds, doubled with each failure up to 20, half of it left to chance.
                let most = min(20 * Self.second, 4 * Self.second << min(10, jobs[place].attempt - 1))
                guard (now + most / 2...now + most).contains(wait) else {
                    throw Disagreement("job \(jobs[place].id) waits \(wait - now) µs of at most \(most)")
                }
                dueAt[place] = wait
            }
        }
        end(valid.map { ($0.place, $0.ending.outcome) }, dueAt: dueAt)
    }

    /// Jobs end a run together.
    ///
    /// Those that go back with one key meet the youngest first, so that the newest args last.
    private mutating func end(_ endings: [(place: Int, outcome: String)], dueAt: [Int: Int] = [:]) {
        for (place, outcome) in endings.sorted(by: { $0.place > $1.place }) {
            var final: String? = ["done", "rejected", "cancelled"].contains(outcome) ? outcome : nil
            if final == nil {
                let job = jobs[place]
                if job.isCancellationWanted {
                    final = "cancelled"
                } else if outcome == "died" && job.isAlone && job.deaths >= 3 {
                    final = "rejected"
                } else if (outcome == "died" || outcome == "retry") && job.attempt >= job.entry.maxAttempts {
                    final = "rejected"
                }
            }
            if let final {
                jobs[place].attempts.append(final)
                finish(place, final)
                continue
            }
            switch outcome {
            case "retry": jobs[place].attempts.append("retried")
            case "snooze":
                jobs[place].attempts.append("snoozed")
                jobs[place].attempt -= 1
                jobs[place].snoozes += 1
            default:
                jobs[place].attempts.append(outcome)
                if outcome == "released" { jobs[place].attempt -= 1 }
            }
            if outcome == "died" {
                jobs[place].deaths = jobs[place].isAlone ? jobs[place].deaths + 1 : max(1, jobs[place].deaths)
            } else if jobs[place].isAlone && outcome != "released" {
                jobs[place].deaths = 0
            }
            jobs[place].isAlone = false
            jobs[place].state = .waiting
            if let moment = dueAt[place] { jobs[place].runAt = moment }
            settle(place)
        }
    }

    // MARK: Living and dying

    mutating func stop(_ number: Int, answered count: Int) throws(Disagreement) {
        if workers[number].ending == nil { workers[number].ending = "stopped" }
        try abandon(number, "released", answered: count)
    }

    mutating func abandon(_ number: Int, _ outcome: String, answered count: Int) throws(Disagreement) {
        let held = jobs.indices.filter { jobs[$0].state == .running(worker: number) }
        guard held.count == count else { throw Disagreement("\(count) jobs given back of \(held.count)") }
        end(held.map { ($0, outcome) })
    }

    mutating func beat(_ number: Int, answered isAlive: Bool, _ rescued: Int) throws(Disagreement) {
        guard isAlive == (workers[number].ending == nil) else { throw Disagreement("alive: \(isAlive)") }
        guard isAlive else { return }
        let before = workers[number].heartbeat
        workers[number].heartbeat = now
        var count = 0
        if before >= now - Self.deadAfter {
            for other in workers.indices
            where workers[other].ending == nil && workers[other].heartbeat < now - Self.deadAfter {
                workers[other].ending = "died"
                let held = jobs.indices.filter { jobs[$0].state == .running(worker: other) }
                count += held.count
                end(held.map { ($0, "died") })
            }
        }
        guard rescued == count else { throw Disagreement("\(rescued) jobs rescued of \(count)") }
    }

    // MARK: Limits

    mutating func setLimit(_ key: String, concurrency: Int?, rate: Int?, period: Int?) {
        let old = limits[key]
        var limit = Limit(concurrency: concurrency, rate: rate, period: (period ?? 0) * Self.second, filledAt: now)
        // Whoever limits the rate anew begins with a full bucket; one that was there keeps what it has.
        if let rate {
            limit.tokens = old.flatMap { old in old.rate == nil ? nil : min(Double(rate), tokens(old)) } ?? Double(rate)
        }
        limits[key] = limit
        hadLimits = true
    }
}
