import Logging
public import JobQueue
public import Postgres

/// Looks at every group in full, one a transaction; what it finds to be wrong is mended and counted as a defect.
///
/// It reads without a lock, so that no edit waits for it.
public struct CheckGroupsHandler: JobHandler {
    private let pool: Pool

    /// A handler for the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// The kind `group.check`.
    public var kinds: Set<String> { ["group.check"] }

    /// Checks all groups; one run serves all the jobs.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        let groups = try await pool.query("select id from koppeling.target_group order by id")
        var defects: Int64 = 0
        for group in groups {
            try Task.checkCancellation()
            let id = try group.decode("id", as: Int64.self)
            let found = try await pool.unlimitedTransaction { connection in
                try await connection.query("select koppeling.check_group(\(id)::bigint)").scalar(as: Int64.self)
            }
            defects += found
            if found > 0 {
                context.logger.error(
                    "memberships were not what their facts amount to",
                    metadata: ["group": "\(id)", "memberships": "\(found)"])
            }
        }
        let result = JSONText(#"{"groups": \#(groups.count), "defects": \#(defects)}"#)
        return Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, .done(result)) })
    }
}
