import CLibPQ
import IO

/// What a `notify` of another session brought.
public struct Notification: Sendable, Hashable {
    /// The channel that was notified.
    public let channel: String
    /// What the sender wrote, or nothing.
    public let payload: String
    /// The server process of the sender.
    public let processID: Int32
}

extension Connection {
    /// Subscribes to a channel; use a connection that does nothing else.
    ///
    /// Notifications sent while no connection listens are gone, so after every `listen` look once at what they announce.
    public func listen(_ channel: String) async throws(PostgresError) {
        guard settings.pooler == .none else {
            throw PostgresError(.usage, "nobody can listen through a transaction pooler: connect to the server itself")
        }
        try await simple("listen \(quotedIdentifier(channel))", cancellable: true)
    }

    /// Ends the subscription to a channel.
    public func unlisten(_ channel: String) async throws(PostgresError) {
        try await simple("unlisten \(quotedIdentifier(channel))", cancellable: true)
    }

    /// Waits for the next notification, until the task is cancelled.
    public func notification() async throws(PostgresError) -> Notification {
        while true {
            if let notification = try await notification(until: nil) { return notification }
        }
    }

    /// Waits for the next notification; nil when none has come in this time.
    public func notification(within time: Duration) async throws(PostgresError) -> Notification? {
        try await notification(until: .now + time)
    }

    private func notification(until deadline: ContinuousClock.Instant?) async throws(PostgresError) -> Notification? {
        while true {
            if let notification = nextNotification() { return notification }
            guard isUsable else { throw lost() }
            switch await Reactor.shared.cancellableWait(for: .read, of: socket, until: deadline) {
            case .ready: guard PQconsumeInput(handle) == 1 else { throw lost() }
            case .timedOut: return nil
            case .cancelled:
                throw PostgresError(.cancelled, "the task was cancelled while it waited for a notification")
            }
        }
    }

    private func nextNotification() -> Notification? {
        guard let pointer = PQnotifies(handle) else { return nil }
        defer { PQfreemem(pointer) }
        return Notification(
            channel: String(cString: pointer.pointee.relname), payload: String(cString: pointer.pointee.extra),
            processID: pointer.pointee.be_pid)
    }

    /// Whether the server still holds its end, as far as one can tell without asking it.
    func isStillThere() -> Bool {
        // Reads what the server may have said by itself: a farewell, then the end. Each read takes one piece.
        for _ in 0..<8 {
            guard hasInput(socket) else { return isUsable }
            guard PQconsumeInput(handle) == 1 else { return false }
            while PQisBusy(handle) == 0, let notification = PQnotifies(handle) { PQfreemem(notification) }
        }
        return isUsable
    }
}
