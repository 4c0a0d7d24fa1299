public import FoundationEssentials
public import Postgres

/// What a look at a group in full found.
public struct GroupCheck: Sendable, Hashable, Codable {
    /// How many memberships were not as the facts say, at the last look.
    public var defects: Int64
    /// How many at all looks.
    public var allDefects: Int64
    /// When that was.
    public var checkedAt: Date

    private enum CodingKeys: String, CodingKey {
        case defects
        case allDefects = "all_defects"
        case checkedAt = "checked_at"
    }
}

/// The looks at groups in full.
public struct GroupChecks: Sendable {
    private let pool: Pool

    /// The looks at the groups in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Looks at a group in full, and mends and counts what is not as the facts say.
    public func check(group: Int64) async throws(TargetGroupsError) -> GroupCheck {
        try await translated {
            try await pool.unlimitedTransaction { connection in
                _ = try await connection.query("select koppeling.check_group(\(group)::bigint)")
            }
        }
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
}
