import IO

/// A shared value, and tasks that wait until it is as they want it.
final class Watched<Value: Sendable>: Sendable {
    private struct State: Sendable {
        var value: Value
        /// Each looks at the value and, when it is as wanted, resumes its task and answers true.
        var waiters: [UInt64: @Sendable (inout Value, _ isCancelled: Bool) -> Bool] = [:]
        /// Waits whose task was cancelled before they stood in `waiters`.
        var cancelledEarly: Set<UInt64> = []
        var lastID: UInt64 = 0
    }

    private let state: Locked<State>

    init(_ value: Value) {
        state = Locked(State(value: value))
    }

    var value: Value { state.withLock { $0.value } }

    /// Changes the value, and lets those go on whose wish it fulfils.
    @discardableResult
    func update<Result: Sendable>(_ change: (inout Value) -> Result) -> Result {
        state.withLock { state in
            let result = change(&state.value)
            for (id, isServed) in state.waiters where isServed(&state.value, false) { state.waiters[id] = nil }
            return result
        }
    }

    /// Waits until the closure finds in the value what it looks for, which it may change; nil when the task is cancelled.
    func wait<Found: Sendable>(until find: @escaping @Sendable (inout Value) -> Found?) async -> Found? {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let found = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enqueue(id, continuation, find)
            }
        } onCancel: {
            cancel(id)
        }
        state.withLock { _ = $0.cancelledEarly.remove(id) }
        return found
    }

    /// As `wait(until:)`, and nil when this time has passed.
    func wait<Found: Sendable>(
        atMost time: Duration, until find: @escaping @Sendable (inout Value) -> Found?
    ) async -> Found? {
        await withTaskGroup(of: Found?.self) { group in
            group.addTask { await self.wait(until: find) }
            group.addTask {
                try? await Task.sleep(for: time)
                return nil
            }
            // Both are awaited: what the wait found must not get lost when the time passes at the same moment.
            var found: Found?
            for await answer in group {
                found = found ?? answer
                group.cancelAll()
            }
            return found
        }
    }

    private func enqueue<Found: Sendable>(
        _ id: UInt64, _ continuation: CheckedContinuation<Found?, Never>,
        _ find: @escaping @Sendable (inout Value) -> Found?
    ) {
        state.withLock { state in
            if state.cancelledEarly.contains(id) {
                continuation.resume(returning: nil)
            } else if let found = find(&state.value) {
                continuation.resume(returning: found)
            } else {
                state.waiters[id] = { value, isCancelled in
                    if isCancelled {
                        continuation.resume(returning: nil)
                        return true
                    }
                    guard let found = find(&value) else { return false }
                    continuation.resume(returning: found)
                    return true
                }
            }
        }
    }

    private func cancel(_ id: UInt64) {
        state.withLock { state in
            if let waiter = state.waiters.removeValue(forKey: id) {
                _ = waiter(&state.value, true)
            } else {
                state.cancelledEarly.insert(id)
            }
        }
    }
}
