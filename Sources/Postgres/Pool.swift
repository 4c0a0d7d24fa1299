import IO

/// Connections that tasks lease for as long as they need one.
///
/// A connection is opened when one is wanted and none is free, up to the maximum; then tasks wait their turn. A connection
/// that was lost, or that comes back in the middle of a transaction, is replaced. So are all when their server has stopped
/// taking writes and another is wanted.
public final class Pool: Sendable {
    /// How connections are opened.
    public let settings: ConnectionSettings
    /// The most connections at a time.
    public let maximum: Int
    /// The longest a task waits for a free connection.
    public let patience: Duration

    private let state = Locked(PoolState())

    /// A pool that opens nothing yet.
    public init(_ settings: ConnectionSettings, maximum: Int = 8, patience: Duration = .seconds(30)) {
        self.settings = settings
        self.maximum = max(1, maximum)
        self.patience = patience
    }

    /// Leases a connection to the body; the body must not keep it.
    @discardableResult
    public func withConnection<Value: Sendable>(
        _ body: (Connection) async throws -> Value
    ) async throws -> Value {
        let lease = try await take()
        defer { give(lease) }
        return try await body(lease.connection)
    }

    /// Leases a connection and runs the body in a transaction.
    @discardableResult
    public func transaction<Value: Sendable>(
        _ level: IsolationLevel = .readCommitted, _ body: (Connection) async throws -> Value
    ) async throws -> Value {
        try await withConnection { connection in try await connection.transaction(level, body) }
    }

    /// Runs one statement and returns its rows.
    @discardableResult
    public func query(_ query: Query) async throws(PostgresError) -> Rows {
        let lease = try await take()
        defer { give(lease) }
        return try await lease.connection.query(query)
    }

    /// Runs one statement and says how many rows it changed or returned.
    @discardableResult
    public func execute(_ query: Query) async throws(PostgresError) -> Int {
        try await self.query(query).affected
    }

    /// Runs several statements without parameters.
    public func script(_ sql: String) async throws(PostgresError) {
        let lease = try await take()
        defer { give(lease) }
        try await lease.connection.script(sql)
    }

    /// Refuses new leases, closes idle connections, and waits until the leased ones are back and closed.
    public func close() async {
        let (idle, waiters) = state.withLock { state in state.close() }
        for waiter in waiters { waiter.resume(returning: .closed) }
        _ = consume idle
        await withCheckedContinuation { continuation in
            let isEmpty = state.withLock { state in
                if state.isEmpty { return true }
                state.closers.append(continuation)
                return false
            }
            if isEmpty { continuation.resume() }
        }
    }

    /// How many connections are open, and how many of them are idle.
    public var counts: (open: Int, idle: Int) {
        state.withLock { ($0.open, $0.idle.count) }
    }

    private func take() async throws(PostgresError) -> Lease {
        var turn = state.withLock { $0.take(maximum: maximum) }
        if case .wait = turn { turn = try await waitForTurn() }
        while true {
            switch turn {
            case .lease(let lease):
                if lease.connection.isStillThere() { return lease }
                // Its place in the count is ours: open another in it.
                turn = .open
            case .open: return try await open()
            case .closed: throw PostgresError(.usage, "the connection pool is closed")
            case .wait: preconditionFailure("a turn is never to wait again")
            }
        }
    }

    private func open() async throws(PostgresError) -> Lease {
        do throws(PostgresError) {
            guard !Task.isCancelled else {
                throw PostgresError(.cancelled, "the task was cancelled before it had a connection")
            }
            let generation = state.withLock { $0.generation }
            return Lease(connection: try await Connection.connect(settings), generation: generation)
        } catch {
            give(nil)
            throw error
        }
    }

    /// Gives a connection back, or only its place when it is of no more use.
    private func give(_ lease: Lease?) {
        let isReusable = lease.map { $0.connection.isUsable && !$0.connection.isInTransaction } ?? false
        let hasWrongServer = lease?.connection.hasWrongServer ?? false
        let (next, outdated) = state.withLock { state in
            // The others lead to the same server, and would only find it out one by one.
            let outdated = hasWrongServer ? lease.map { state.leave($0) } ?? [] : []
            let isCurrent = lease?.generation == state.generation
            return (state.give(isReusable && isCurrent ? lease : nil), outdated)
        }
        _ = consume outdated
        switch next {
        case .turn(let waiter, let turn): waiter.resume(returning: turn)
        case .closed(let closers): for closer in closers { closer.resume() }
        case nil: break
        }
    }

    private func waitForTurn() async throws(PostgresError) -> PoolTurn {
        let id = state.withLock { $0.newWaiterID() }
        let turn = await withTaskGroup(of: PoolTurn?.self) { group in
            group.addTask { await self.turn(of: id) }
            group.addTask { [patience] in
                try? await Task.sleep(for: patience)
                return nil
            }
            // Cancelling the rest resumes a waiter that has had no turn; one that has had it is not lost.
            var turn: PoolTurn?
            for await answer in group {
                turn = turn ?? answer
                group.cancelAll()
            }
            return turn
        }
        if let turn { return turn }
        guard !Task.isCancelled else {
            throw PostgresError(.cancelled, "the task was cancelled while it waited for a connection")
        }
        throw PostgresError(
            .timeout,
            "none of the \(maximum) connections came free within \(patience): allow more, or hold them shorter")
    }

    private func turn(of id: UInt64) async -> PoolTurn? {
        let turn = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let immediate = state.withLock { $0.enqueue(id, continuation, maximum: maximum) }
                if let immediate { continuation.resume(returning: immediate) }
            }
        } onCancel: {
            state.withLock { $0.abandon(id) }?.resume(returning: .wait)
        }
        state.withLock { $0.forget(id) }
        if case .wait = turn { return nil }
        return turn
    }
}
