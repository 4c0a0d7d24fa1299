import Logging
public import JobQueue
public import Postgres

/// Looks at every group in full, as jobs of the kind `group.check`.
public struct CheckGroupsHandler: JobHandler {
    private let checks: GroupChecks

    /// A handler for the database of this pool.
    public init(pool: Pool) {
        checks = GroupChecks(pool: pool)
    }

    /// The kind `group.check`.
    public var kinds: Set<String> { ["group.check"] }

    /// Checks all groups; one run serves all the jobs.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        let logger = context.logger
        let findings = try await checks.run { group, defects in
            logger.error(
                "memberships were not what their facts amount to",
                metadata: ["group": "\(group)", "memberships": "\(defects)"])
        }
        let result = JSONText(#"{"groups": \#(findings.groups), "defects": \#(findings.defects)}"#)
        return Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, .done(result)) })
    }
}
