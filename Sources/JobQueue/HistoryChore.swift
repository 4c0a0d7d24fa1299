import IO
import Logging
import Postgres

extension Worker {
    /// Makes the days of the history before they come, and drops those that are not kept any more.
    ///
    /// When the worker starts, and then about once an hour. All workers do it, each step under a lock for which nobody
    /// waits; where one comes too late, or a long transaction is in the way, it tries again a little later.
    func keepHistory() async {
        while !Task.isCancelled {
            var isDone = true
            do throws(PostgresError) {
                isDone = try await tidyHistory()
            } catch {
                guard !Task.isCancelled else { return }
                logger.warning("cannot tidy the history", metadata: ["error": "\(error)"])
                isDone = !error.isRetryable
            }
            // A fifth is left to chance, so that a fleet does not come all at once.
            let pause = (isDone ? Duration.seconds(3600) : .seconds(300)) * Double.random(in: 0.8...1)
            try? await Task.sleep(for: pause)
        }
    }

    /// False when something had to be left for later.
    private func tidyHistory() async throws(PostgresError) -> Bool {
        let isMade = try await store.makeHistoryPartitions()
        for partition in try await store.expiredHistoryPartitions() {
            guard try await store.dropHistoryPartition(partition) else { return false }
            logger.info("dropped a day of the history", metadata: ["partition": "\(partition)"])
        }
        var rounds = 0
        while rounds < Self.pruningRounds, try await store.pruneHistory() > 0 { rounds += 1 }
        return isMade && rounds < Self.pruningRounds
    }

    /// How often a tidying deletes a thousand rows, at most.
    private static var pruningRounds: Int { 100 }
}

extension QueueStore {
    /// False when some are left for later.
    fileprivate func makeHistoryPartitions() async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.make_history_partitions() is not null as made").only("made")
    }

    fileprivate func expiredHistoryPartitions() async throws(PostgresError) -> [String] {
        let rows = try await pool.query("select partition from koppeling.expired_history_partitions()")
        return try rows.map { row throws(PostgresError) in try row.decode("partition") }
    }

    /// False when others use the table.
    fileprivate func dropHistoryPartition(_ partition: String) async throws(PostgresError) -> Bool {
        try await pool.query("select koppeling.drop_history_partition(\(partition)::text) as dropped").only("dropped")
    }

    /// How many rows were deleted.
    fileprivate func pruneHistory() async throws(PostgresError) -> Int64 {
        try await pool.query("select koppeling.prune_history() as pruned").only("pruned")
    }
}
