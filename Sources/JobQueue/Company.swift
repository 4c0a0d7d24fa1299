import IO

/// Who runs jobs in this process: many batches beside each other, or one job all by itself.
///
/// A job that ran when its worker died is run alone, so that its next death is known to be its own doing.
struct Company: Sendable {
    private struct State: Sendable {
        var batches = 0
        var isAlone = false
        /// Those who want to be alone: nobody begins anything new while they wait.
        var hermits = 0
    }

    private let state = Watched(State())

    /// Begins to run in company; false when the task is cancelled.
    ///
    /// Waits while somebody is or wants to be alone.
    func join() async -> Bool {
        let isIn = await state.wait { state -> Bool? in
            guard !state.isAlone, state.hermits == 0 else { return nil }
            state.batches += 1
            return true
        }
        return isIn ?? false
    }

    /// Ends what `join` began.
    func leave() {
        state.update { $0.batches -= 1 }
    }

    /// Begins to run alone; false when the others did not end in time.
    func withdraw(within time: Duration) async -> Bool {
        state.update { $0.hermits += 1 }
        let isAlone = await state.wait(atMost: time) { state -> Bool? in
            guard state.batches == 0, !state.isAlone else { return nil }
            state.isAlone = true
            return true
        }
        state.update { $0.hermits -= 1 }
        return isAlone ?? false
    }

    /// Ends what `withdraw` began.
    func `return`() {
        state.update { $0.isAlone = false }
    }
}
