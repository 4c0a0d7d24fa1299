import IO
import Logging
public import Postgres

/// A leased semaphore across all workers: how many things with one resource may be under way at once.
///
/// Whoever waits asks the database again and again. Of those who wait in one process for the same resource on behalf of
/// the same holder only the first asks.
public struct Permits: Sendable {
    private let pool: Pool
    private let worker: Worker
    private let turns = Watched<[Turn: [UInt64]]>([:])
    private let lastTicket = Locked<UInt64>(0)

    private struct Turn: Sendable, Hashable {
        var resource: String
        var holder: String
    }

    /// Permits that belong to the worker: when it dies they lapse.
    public init(pool: Pool, worker: Worker) {
        self.pool = pool
        self.worker = worker
    }

    /// Waits for a permit of the resource, runs the body, and gives the permit back.
    ///
    /// The holder is on whose behalf: each that wants a permit has its equal share before another has more.
    public func withPermit<Value: Sendable>(
        _ resource: String, holder: String, _ body: () async throws -> Value
    ) async throws -> Value {
        let permit = try await acquire(Turn(resource: resource, holder: holder))
        do {
            let value = try await body()
            await release(permit)
            return value
        } catch {
            await release(permit)
            throw error
        }
    }

    /// Halves what the resource allows, for all workers, at most once in 10 s.
    ///
    /// It grows back by one a quiet minute.
    public func throttle(_ resource: String) async throws {
        try await pool.query("select koppeling.throttle(\(resource)::text)")
    }

    /// Sets how many permits the resource has, from 1 to 10.
    public func setBudget(_ budget: Int, of resource: String) async throws {
        try await pool.query(
            "select koppeling.set_permit_budget(\(resource)::text, \(Int32(clamping: budget))::int)")
    }

    private func acquire(_ turn: Turn) async throws -> Int64 {
        let worker = try await worker.id
        let ticket = lastTicket.withLock { last in
            last += 1
            return last
        }
        turns.update { $0[turn, default: []].append(ticket) }
        defer {
            turns.update { turns in
                turns[turn]?.removeAll { $0 == ticket }
                if turns[turn]?.isEmpty == true { turns[turn] = nil }
            }
        }
        guard await turns.wait(until: { $0[turn]?.first == ticket ? true : nil }) != nil else {
            throw CancellationError()
        }
        while true {
            try Task.checkCancellation()
            if let permit = try await ask(turn, worker) { return permit }
            try await Task.sleep(for: .milliseconds(Int.random(in: 20...50)))
        }
    }

    private func ask(_ turn: Turn, _ worker: Int64) async throws -> Int64? {
        // To its end: a permit whose answer was lost would be nobody's.
        let answer = await uncancelled { () async -> Result<Int64?, PostgresError> in
            do throws(PostgresError) {
                return .success(
                    try await pool.query(
                        """
                        select koppeling.acquire_permit(\(turn.resource)::text, \(turn.holder)::text,
                            \(worker)::bigint) as permit
                        """
                    ).only("permit"))
            } catch {
                return .failure(error)
            }
        }
        let permit = try answer.get()
        if let permit, Task.isCancelled {
            await release(permit)
            throw CancellationError()
        }
        return permit
    }

    /// Gives the permit back, also when the task is cancelled: one that is kept would be missing until the worker ends.
    private func release(_ permit: Int64) async {
        await uncancelled {
            let backoff = Backoff(base: .milliseconds(100), cap: .seconds(5))
            for attempt in 1...10 {
                do throws(PostgresError) {
                    try await pool.query("select koppeling.release_permit(\(permit)::bigint)")
                    return
                } catch {
                    worker.logger.warning("cannot give a permit back", metadata: ["error": "\(error)"])
                    try? await Task.sleep(for: backoff.delay(attempt: attempt))
                }
            }
        }
    }
}
