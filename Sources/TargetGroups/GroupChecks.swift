public import Postgres

/// The look at groups in full: what is not as the facts say is mended, and counted as a defect.
///
/// It reads without a lock, so that no edit waits for it.
public struct GroupChecks: Sendable {
    /// How many groups were looked at, and how many memberships were wrong.
    public struct Findings: Equatable, Sendable {
        /// The groups that were looked at.
        public var groups = 0
        /// The memberships that were not as the facts say.
        public var defects: Int64 = 0

        /// So many of each.
        public init(groups: Int = 0, defects: Int64 = 0) {
            self.groups = groups
            self.defects = defects
        }
    }

    /// Two groups at a time: one reads while the other is planned and waits.
    private static let lanes = 2

    private let pool: Pool

    /// The groups in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Looks at each group in a transaction of its own, or only at this one; tells of each that had defects.
    public func run(
        only group: Int64? = nil, found: @Sendable @escaping (_ group: Int64, _ defects: Int64) -> Void = { _, _ in }
    ) async throws -> Findings {
        let groups = try await pool.query(
            "select id from koppeling.target_group where \(group)::bigint is null or id = \(group)::bigint order by id"
        ).map { row in try row.decode("id", as: Int64.self) }
        var findings = Findings(groups: groups.count)
        try await withThrowingTaskGroup { lanes in
            for (number, group) in groups.enumerated() {
                if number >= Self.lanes { findings.defects += try await lanes.next() ?? 0 }
                lanes.addTask {
                    let defects = try await look(at: group)
                    if defects > 0 { found(group, defects) }
                    return defects
                }
            }
            for try await defects in lanes { findings.defects += defects }
        }
        return findings
    }

    /// Looks at a group in full, and mends and counts what is not as the facts say.
    public func check(group: Int64) async throws(TargetGroupsError) -> GroupCheck {
        _ = try await translated { try await look(at: group) }
        guard let check = try await last(group: group) else {
            throw TargetGroupsError(.notFound, "there is no target group \(group)")
        }
        return check
    }

    /// The last look at a group.
    public func last(group: Int64) async throws(TargetGroupsError) -> GroupCheck? {
        try await translated {
            let rows = try await pool.query(
                """
                select defects, all_defects, checked_at from koppeling.group_check
                where target_group_id = \(group)::bigint
                """)
            return try rows.first.map { row in
                GroupCheck(
                    defects: try row.decode("defects"), allDefects: try row.decode("all_defects"),
                    checkedAt: try row.decode("checked_at"))
            }
        }
    }

    private func look(at group: Int64) async throws -> Int64 {
        try await pool.unlimitedTransaction { connection in
            try await connection.query("select koppeling.check_group(\(group)::bigint)").scalar()
        }
    }
}
