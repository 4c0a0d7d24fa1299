public import Postgres
public import Testing

extension Connection {
    /// Waits until somebody waits for what this connection's transaction did.
    public func waitUntilWaitedFor(at location: SourceLocation = #_sourceLocation) async throws {
        // Not from pg_stat_activity, which stays as it was for a transaction that looked at it.
        try await eventually("somebody waits", at: location) {
            try await query(
                """
                select exists (
                    select from pg_locks w
                    where not w.granted and pg_backend_pid() = any (pg_blocking_pids(w.pid)))
                """
            ).scalar()
        }
    }
}
