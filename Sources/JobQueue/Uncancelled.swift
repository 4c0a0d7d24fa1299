/// Runs the body to its end even when the task is cancelled: what must be written down is written down.
///
/// The body runs in a task of its own, because cancellation reaches every structured child.
func uncancelled<Result: Sendable>(_ body: @escaping @Sendable () async -> Result) async -> Result {
    await Task { await body() }.value
}
