import IO
import Logging
public import Postgres

/// A leased semaphore across all workers: how many things with one resource may be under way at once.
///
/// Whoever waits asks the database again and again. Of those who wait in one process for the same resource on behalf of
/// the same holder only the first asks, and a permit goes from one of them to the next without being given back between.
public struct Permits: Sendable {
    private let pool: Pool
    private let worker: Worker
    private let lines = Watched<[Turn: Line]>([:])
    private let lastTicket = Locked<UInt64>(0)

    private struct Turn: Sendable, Hashable {
        var resource: String
        var holder: String
    }

    /// Those of this process who wait for the same.
    private struct Line: Sendable {
        var tickets: [UInt64] = []
        /// The one that is asking the database just now.
        var asking: UInt64?
        /// Permits that were passed on, until their takers wake up.
        var passed: [UInt64: Int64] = [:]

        var isEmpty: Bool { tickets.isEmpty && passed.isEmpty }
        /// Who may be given a permit: not the one who may be getting one from the database.
        var next: UInt64? { tickets.first { $0 != asking } }
    }

    private enum Found: Sendable {
        case permit(Int64)
        /// It is this one's turn to ask the database.
        case turn
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
        let turn = Turn(resource: resource, holder: holder)
        let permit = try await acquire(turn)
        do {
            let value = try await body()
            await passOn(permit, turn)
            return value
        } catch {
            await passOn(permit, turn)
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
        lines.update { $0[turn, default: Line()].tickets.append(ticket) }
        do {
            let permit = try await wait(turn, ticket, worker)
            _ = leave(turn, ticket)
            return permit
        } catch {
            // One may have been passed on to us just as we gave up.
            if let permit = leave(turn, ticket) { await passOn(permit, turn) }
            throw error
        }
    }

    private func wait(_ turn: Turn, _ ticket: UInt64, _ worker: Int64) async throws -> Int64 {
        while true {
            let found = await lines.wait { lines -> Found? in
                if let permit = lines[turn]?.passed.removeValue(forKey: ticket) { return .permit(permit) }
                guard lines[turn]?.tickets.first == ticket else { return nil }
                lines[turn]?.asking = ticket
                return .turn
            }
            guard let found else { throw CancellationError() }
            if case .permit(let permit) = found { return permit }
            if let permit = try await ask(turn, worker) { return permit }
            lines.update { $0[turn]?.asking = nil }
            let passed = await lines.wait(atMost: .milliseconds(Int.random(in: 20...50))) {
                $0[turn]?.passed.removeValue(forKey: ticket)
            }
            if let passed { return passed }
            try Task.checkCancellation()
        }
    }

    /// Takes one out of the line; returns a permit that it was given and did not take.
    private func leave(_ turn: Turn, _ ticket: UInt64) -> Int64? {
        lines.update { lines in
            guard var line = lines[turn] else { return nil }
            let left = line.passed.removeValue(forKey: ticket)
            line.tickets.removeAll { $0 == ticket }
            if line.asking == ticket { line.asking = nil }
            lines[turn] = line.isEmpty ? nil : line
            return left
        }
    }

    /// Gives the permit to the next in the line, or back.
    private func passOn(_ permit: Int64, _ turn: Turn) async {
        guard lines.value[turn]?.next != nil else { return await release(permit) }
        let isOurs = await uncancelled { () async -> Bool? in
            try? await pool.query("select koppeling.pass_permit(\(permit)::bigint)").scalar()
        }
        switch isOurs {
        case true?:
            let isTaken = lines.update { lines -> Bool in
                guard let next = lines[turn]?.next else { return false }
                lines[turn]?.tickets.removeAll { $0 == next }
                lines[turn]?.passed[next] = permit
                return true
            }
            if !isTaken { await release(permit) }
        case false?: return
        case nil: await release(permit)
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
