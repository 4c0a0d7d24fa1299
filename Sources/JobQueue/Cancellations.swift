import IO

/// Jobs of this worker that somebody wants cancelled while they run.
struct Cancellations: Sendable {
    private struct State: Sendable {
        var running: Set<Int64> = []
        var requested: Set<Int64> = []
    }

    private let state = Watched(State())

    /// Whether jobs run, so that it is worth asking which are to be cancelled.
    var isWorthAsking: Bool { !state.value.running.isEmpty }

    /// Waits until jobs run.
    func waitForJobs() async {
        _ = await state.wait { $0.running.isEmpty ? nil : true }
    }

    func begin(_ jobs: [Job]) {
        state.update { $0.running.formUnion(jobs.lazy.map(\.id)) }
    }

    func end(_ jobs: [Job]) {
        state.update { state in
            for job in jobs {
                state.running.remove(job.id)
                state.requested.remove(job.id)
            }
        }
    }

    /// Passes on what the database says.
    func request(_ ids: some Sequence<Int64>) {
        let ids = Set(ids)
        guard !ids.isEmpty else { return }
        state.update { $0.requested.formUnion(ids.intersection($0.running)) }
    }

    func contains(_ id: Int64) -> Bool { state.value.requested.contains(id) }

    /// Waits until all of these are to be cancelled; false when the task itself is cancelled before.
    func wait(for ids: Set<Int64>) async -> Bool {
        await state.wait { ids.isSubset(of: $0.requested) ? true : nil } ?? false
    }
}
