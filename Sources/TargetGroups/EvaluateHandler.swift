import Logging
public import JobQueue
public import Postgres

/// Brings memberships up to date with the persons whose facts changed.
///
/// One run takes everything that waits, some thousand persons a transaction: an edit that comes in meanwhile is taken
/// along, and a worker that dies loses nothing but the piece it was at.
public struct EvaluateHandler: JobHandler {
    /// Persons a transaction: enough for set-based work, few enough that a group is never locked for long.
    private static let piece = 2000

    private let pool: Pool

    /// A handler for the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// The kind `group.evaluate`.
    public var kinds: Set<String> { ["group.evaluate"] }

    /// Evaluates until nobody waits; one run serves all the jobs.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        var total: Int64 = 0
        var persons: Int64
        repeat {
            try Task.checkCancellation()
            persons = try await pool.unlimitedTransaction { connection in
                try await connection.query("select koppeling.evaluate_requests(\(Self.piece)::bigint)").scalar()
            }
            total += persons
        } while persons > 0
        if total > 0 { context.logger.info("evaluated", metadata: ["persons": "\(total)"]) }
        return Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, .done(JSONText(#"{"persons": \#(total)}"#))) })
    }
}
