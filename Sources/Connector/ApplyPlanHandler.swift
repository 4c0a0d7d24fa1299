public import JobQueue
public import Postgres

/// Applies approved plans, some persons a transaction: whoever takes over from a worker that died goes on where it was.
public struct ApplyPlanHandler: JobHandler {
    private struct Arguments: Decodable {
        var plan: Int64
    }

    /// Persons a transaction: a fraction of a second, for which who writes about the group beside it waits, and a few bulk
    /// calls, so that the first leave while the rest is applied.
    private let piece: Int32

    private let pool: Pool

    /// For the plans of a database.
    public init(pool: Pool) {
        self.init(pool: pool, piece: 2000)
    }

    init(pool: Pool, piece: Int32) {
        self.pool = pool
        self.piece = piece
    }

    /// `plan.apply`.
    public var kinds: Set<String> { ["plan.apply"] }

    /// Applies each plan to its end.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        var outcomes: [Int64: Outcome] = [:]
        for job in jobs {
            guard let arguments = try? job.args.decode(Arguments.self) else {
                outcomes[job.id] = .rejected(reason: #"args must be {"plan": number}"#)
                continue
            }
            try await apply(arguments.plan)
            outcomes[job.id] = .done(nil)
        }
        return outcomes
    }

    /// Applies an approved plan, from wherever it was left to its end.
    public func apply(_ plan: Int64) async throws {
        while try await applyPiece(of: plan) { try Task.checkCancellation() }
    }

    private func applyPiece(of plan: Int64) async throws -> Bool {
        try await pool.query("select koppeling.apply_plan(\(plan)::bigint, \(piece)::int)").scalar()
    }
}
