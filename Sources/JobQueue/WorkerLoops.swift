import Glibc
import IO
import Logging
import Metrics
import Postgres

extension Worker {
    /// Signs of life, and a new registration whenever there is none.
    func live() async {
        var failures = 0
        let backoff = Backoff(base: .milliseconds(100), cap: options.heartbeat)
        let life = QueueStore(pool: lifePool)
        let rescued = Counter(label: "koppeling_jobs_rescued_total", factory: metrics)
        var beats = 0
        while !Task.isCancelled {
            do throws(PostgresError) {
                guard let worker = state.value.worker else {
                    let worker = try await life.register(
                        name: options.name, host: Options.host, processID: getpid(), version: options.version)
                    state.update { $0.worker = worker }
                    continue
                }
                let beat = try await life.beat(worker: worker, deadAfter: options.deadAfter)
                if beat.rescued > 0 {
                    rescued.increment(by: beat.rescued)
                    logger.notice("took jobs over from a dead worker", metadata: ["count": "\(beat.rescued)"])
                }
                guard beat.isAlive else {
                    logger.warning("was declared dead: it registers again, and what it had belongs to others")
                    state.update { $0.worker = nil }
                    continue
                }
                if !beat.suspicious.isEmpty { state.update { $0.suspicious.formUnion(beat.suspicious) } }
                beats += 1
                if beats.isMultiple(of: Self.beatsPerLookAtGates) {
                    let opened = try await life.openStaleGates()
                    if opened > 0 { logger.info("opened gates that were left shut", metadata: ["count": "\(opened)"]) }
                }
                failures = 0
                // A fifth is left to chance, so that a fleet does not beat in step.
                let pause = options.heartbeat * Double.random(in: 0.8...1)
                _ = await state.wait(atMost: pause) { $0.worker == nil ? true : nil }
            } catch {
                failures += 1
                guard !Task.isCancelled else { return }
                logger.warning("no sign of life reaches the database", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: backoff.delay(attempt: failures))
            }
        }
    }

    private static var beatsPerLookAtGates: Int { 3 }

    /// Asks now and then whether jobs that run are to be cancelled.
    func watchCancellations() async {
        while !Task.isCancelled {
            await cancellations.waitForJobs()
            try? await Task.sleep(for: Self.cancellationPoll)
            guard cancellations.isWorthAsking, let worker = state.value.worker else { continue }
            do throws(PostgresError) {
                cancellations.request(try await store.cancelled(worker: worker))
            } catch {
                logger.warning("cannot ask which jobs are to be cancelled", metadata: ["error": "\(error)"])
            }
        }
    }

    private static var cancellationPoll: Duration { .milliseconds(500) }

    /// Wakes the consumers for which there is work: when told of it, when a job's time comes, and now and then.
    func lookForWork() async {
        var failures = 0
        let backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        var looksAhead: ArraySlice<Duration> = []
        while let worker = await state.wait(until: { $0.worker }), !Task.isCancelled {
            var pause = options.slowPoll
            do throws(PostgresError) {
                let waiting = state.value.waiting
                let (queues, marks) = self.marks
                let looks = try await store.look(worker: worker, queues: queues, marks: marks)
                // A consumer that the database does not know finds that out when it tries to claim.
                let due = Set(looks.filter(\.isDue).map(\.consumer)).union(
                    Set(waiting.keys).subtracting(looks.map(\.consumer)))
                if !due.isEmpty { state.update { $0.wake(due) } }
                let suspicious = looks.filter(\.isSuspicious).map(\.consumer)
                if !suspicious.isEmpty { state.update { $0.suspicious.formUnion(suspicious) } }
                failures = 0
                pause = looks.compactMap(\.wait).reduce(pause, min)
            } catch {
                failures += 1
                guard !Task.isCancelled else { return }
                logger.warning("cannot look for work", metadata: ["error": "\(error)"])
                pause = backoff.delay(attempt: failures)
            }
            if let ahead = looksAhead.popFirst() { pause = min(pause, ahead) }
            let rung = await bell.wait(atMost: pause) { bell -> Bell? in
                guard bell.isRung || bell.hasNewcomer else { return nil }
                defer { bell = Bell() }
                return bell
            }
            if rung?.hasNewcomer == true { looksAhead = Self.looksAfterNewcomer }
        }
    }

    /// The marks of all consumptions, with their queues.
    private var marks: (queues: [String], marks: Marks.Columns) {
        var queues: [String] = []
        var columns = Marks.Columns()
        for (queue, marks) in state.value.marks.values {
            let some = marks.columns
            queues += Array(repeating: queue, count: some.kinds.count)
            columns.kinds += some.kinds
            columns.priorities += some.priorities
            columns.times += some.times
        }
        return (queues, columns)
    }

    /// The looks that follow when a consumer has become idle.
    ///
    /// Whoever enqueues looks for waiting consumers before he commits. One that begins to wait between the two is not
    /// notified, so it is looked after a few times more.
    private static var looksAfterNewcomer: ArraySlice<Duration> {
        [.milliseconds(30), .milliseconds(300), .seconds(2)]
    }

    func listen() async {
        var failures = 0
        let backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        // News may be rare: a connection that hears nothing is asked now and then whether it would.
        let longestSilence = options.heartbeat * 6
        while !Task.isCancelled {
            do throws(PostgresError) {
                let connection = try await Connection.connect(listenSettings)
                try await connection.listen("koppeling_job")
                failures = 0
                ring(newcomer: false)
                ringScheduler()
                while true {
                    switch try await connection.notification(within: longestSilence)?.payload {
                    case nil: try await connection.verify()
                    case "schedule": ringScheduler()
                    default: ring(newcomer: false)
                    }
                }
            } catch {
                failures += 1
                guard !Task.isCancelled else { return }
                logger.warning("does not hear of new jobs, and looks now and then", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: backoff.delay(attempt: failures))
            }
        }
    }

    /// Ends what a stopping consumption runs when its grace period is over.
    func grace(_ consumption: UInt64) async {
        guard await state.wait(until: { $0.phase(of: consumption) >= .stopping ? true : nil }) != nil else { return }
        try? await Task.sleep(for: options.gracePeriod)
        state.update { $0.advance(consumption, to: .aborting) }
    }
}
