import IO

/// Where a number of tasks wait for each other, once.
final class Meeting: Sendable {
    private let state: Locked<(missing: Int, waiting: [CheckedContinuation<Void, Never>])>

    init(_ count: Int) {
        state = Locked((count, []))
    }

    /// Returns when everybody has arrived.
    func arrive() async {
        await withCheckedContinuation { continuation in
            let released = state.withLock { state in
                state.missing -= 1
                state.waiting.append(continuation)
                return state.missing == 0 ? state.waiting : []
            }
            for waiting in released { waiting.resume() }
        }
    }
}
