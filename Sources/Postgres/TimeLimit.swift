import CLibPQ
import Glibc
import IO

extension Connection {
    /// How much longer than a statement may run the server may say nothing before it counts as gone.
    ///
    /// A host that lost its power, or something on the way that keeps the line open and passes nothing on, says nothing for ever.
    static let grace = Duration.seconds(5)

    /// Lets the statements of the open transaction take as long as they need.
    public func liftTimeLimit() async throws(PostgresError) {
        guard isInTransaction else {
            throw PostgresError(.usage, "the limit on statements is lifted for a transaction: begin one first")
        }
        try await script("set local statement_timeout = 0")
        isUnlimited = true
    }

    /// Asks the server for a sign of life; throws when none comes in this time, or when it takes no writes any more.
    ///
    /// For a connection that only listens, which would otherwise never notice.
    public func verify(within time: Duration = .seconds(10)) async throws(PostgresError) {
        try await exchange(cancellable: false) { () throws(PostgresError) in
            guard PQsendQuery(handle, "") == 1 else { throw refusal() }
            try await flush()
            guard case .ready = await Reactor.shared.wait(for: .read, of: socket, until: .now + time) else {
                throw hangUp(after: time)
            }
            _ = try await receive()
        }
        guard !hasWrongServer else {
            markBroken()
            throw PostgresError(.connection, "the server takes no writes any more: another must have taken its place")
        }
    }

    /// Waits until the server has said something or can be told something.
    func ready(for interest: Reactor.Interest) async throws(PostgresError) -> Reactor.Interest {
        guard let limit = isUnlimited ? nil : silenceLimit else {
            if case .ready(let ready) = await Reactor.shared.wait(for: interest, of: socket) { return ready }
            return []
        }
        if settings.pooler == .transaction {
            // The server behind it knows no limit of ours.
            if case .ready(let ready) = await wait(interest, limit - Self.grace) { return ready }
            isOverdue = true
            canceller.fire()
            if case .ready(let ready) = await wait(interest, Self.grace) { return ready }
        } else {
            if case .ready(let ready) = await wait(interest, limit) { return ready }
        }
        throw hangUp(after: limit)
    }

    private func wait(_ interest: Reactor.Interest, _ time: Duration) async -> Reactor.Wake {
        await Reactor.shared.wait(for: interest, of: socket, until: .now + time)
    }

    /// Ends a connection whose server is silent; what it was doing may or may not have happened.
    private func hangUp(after time: Duration) -> PostgresError {
        markBroken()
        shutdown(socket, Int32(SHUT_RDWR))
        return PostgresError(
            .connection, "the server has said nothing for \(time): the connection is given up as lost")
    }
}

extension ConnectionSettings {
    /// How long the server may say nothing while it owes an answer; nil when only the URL knows how long that may be.
    var silenceLimit: Duration? {
        guard let statementTimeout, (try? parsed()["options"])?.contains("statement_timeout") != true else {
            return nil
        }
        return statementTimeout + Connection.grace
    }
}
