public import JobQueue
public import Postgres

/// Takes pulls that other systems ask for in the default queue, and puts each into its instance's own.
public struct PullRequestHandler: JobHandler {
    private let pool: Pool

    /// For the instances of a database.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// `instance.pull`.
    public var kinds: Set<String> { ["instance.pull"] }

    /// Passes the requests on; one that names no instance is rejected.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        var outcomes: [Int64: Outcome] = [:]
        for job in jobs {
            guard let arguments = try? job.args.decode(PullArguments.self) else {
                outcomes[job.id] = .rejected(reason: #"args must be {"instance": number, "full": true or false}"#)
                continue
            }
            let rows = try await pool.query(
                """
                select koppeling.request_pull(i.id, \(arguments.full ?? false), koppeling.now())
                from koppeling.connector_instance i
                where i.id = \(arguments.instance)
                """)
            outcomes[job.id] =
                rows.isEmpty ? .rejected(reason: "there is no instance \(arguments.instance)") : .done(nil)
        }
        return outcomes
    }
}
