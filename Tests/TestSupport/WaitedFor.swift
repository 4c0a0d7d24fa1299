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
                    join pg_locks h on h.transactionid = w.transactionid and h.granted and h.pid = pg_backend_pid()
                    where not w.granted)
                """
            ).scalar()
        }
    }
}
