import IO

/// A shared value, and tasks that wait until it is as they want it.
///
/// Tasks are resumed after the lock is released, never under it: resuming one takes the runtime's lock on the task, which
/// whoever cancels the task holds while it waits for ours.
final class Watched<Value: Sendable>: Sendable {
    private typealias Resumption = @Sendable () -> Void

    private struct Waiter: Sendable {
        /// Looks at the value; when it is as wanted, answers how to let the task go on.
        let look: @Sendable (inout Value) -> Resumption?
        let cancel: Resumption
    }

    private struct State: Sendable {
        var value: Value
        var waiters: [UInt64: Waiter] = [:]
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
        let (result, resumptions) = state.withLock { state -> (Result, [Resumption]) in
            let result = change(&state.value)
            var resumptions: [Resumption] = []
            for (id, waiter) in state.waiters {
                guard let resumption = waiter.look(&state.value) else { continue }
                state.waiters[id] = nil
                resumptions.append(resumption)
            }
            return (result, resumptions)
        }
        for resume in resumptions { resume() }
        return result
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
        let look: @Sendable (inout Value) -> Resumption? = { value in
            guard let found = find(&value) else { return nil }
            return { continuation.resume(returning: found) }
        }
        let cancel: Resumption = { continuation.resume(returning: nil) }
        let resumption = state.withLock { state -> Resumption? in
            if state.cancelledEarly.contains(id) { return cancel }
            if let resumption = look(&state.value) { return resumption }
            state.waiters[id] = Waiter(look: look, cancel: cancel)
            return nil
        }
        resumption?()
    }

    private func cancel(_ id: UInt64) {
        let waiter = state.withLock { state -> Waiter? in
            if let waiter = state.waiters.removeValue(forKey: id) { return waiter }
            state.cancelledEarly.insert(id)
            return nil
        }
        waiter?.cancel()
    }
}
