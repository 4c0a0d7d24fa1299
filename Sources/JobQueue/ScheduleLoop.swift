import IO
import Logging
import Postgres

extension Worker {
    /// Enqueues the jobs of schedules when their tick comes, and sleeps until the next one.
    ///
    /// Every worker does it: the database sees to it that a tick makes one job.
    func runSchedules() async {
        var failures = 0
        let backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
        while await state.wait(until: { $0.worker }) != nil, !Task.isCancelled {
            var pause = options.slowPoll
            do throws(PostgresError) {
                let (made, wait) = try await store.runDueSchedules()
                if made > 0 { logger.debug("scheduled jobs are enqueued", metadata: ["count": "\(made)"]) }
                failures = 0
                // What is due still is more than one call does, or another worker is at it: it may yet die of it.
                pause = wait.map { $0 > .zero ? min($0, pause) : made > 0 ? .zero : .seconds(1) } ?? pause
            } catch {
                failures += 1
                guard !Task.isCancelled else { return }
                logger.warning("cannot look after the schedules", metadata: ["error": "\(error)"])
                pause = backoff.delay(attempt: failures)
            }
            _ = await scheduleBell.wait(atMost: pause) { isRung -> Bool? in
                guard isRung else { return nil }
                isRung = false
                return true
            }
        }
    }

    /// Wakes the one who runs the schedules: they may have changed.
    func ringScheduler() {
        scheduleBell.update { $0 = true }
    }
}

extension QueueStore {
    /// Enqueues what is due; how many jobs that were, and how long until the next tick, if any is to come.
    func runDueSchedules() async throws(PostgresError) -> (made: Int64, wait: Duration?) {
        let rows = try await pool.query(
            """
            select made, extract(epoch from next_at - koppeling.now())::float8 as wait
            from koppeling.run_due_schedules()
            """)
        let wait: Double? = try rows.only("wait")
        return (try rows.only("made"), wait.map { .seconds(min(max(0, $0), 86_400)) })
    }
}
