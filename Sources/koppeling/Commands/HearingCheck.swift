import Postgres

extension Runtime {
    /// Whether what is notified through the pool is heard where a worker listens.
    ///
    /// It is not when the two lead to different databases, or when one leads to a pooler that nobody has told us of.
    func hearsNotifications() async throws -> Bool {
        let listener = try await Connection.connect(direct)
        let word = String(UInt64.random(in: 0...UInt64.max))
        try await listener.listen("koppeling_doctor")
        try await pool.query("select pg_notify('koppeling_doctor', \(word)::text)")
        while let notification = try await listener.notification(within: .seconds(3)) {
            if notification.payload == word { return true }
        }
        return false
    }
}
