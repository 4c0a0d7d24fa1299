public import Postgres

/// The values that persons and companies have; they come into being with them.
public struct Values: Sendable {
    private let pool: Pool

    /// The values in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// A page of the values that rules can ask for, by name, up to a thousand: those whose name begins so, after the last
    /// of the page before.
    public func list(
        _ kind: Criterion.Kind, prefix: String = "", after name: String? = nil, limit: Int = 100
    ) async throws(TargetGroupsError) -> [String] {
        try await translated {
            try await pool.query(
                """
                select name from koppeling.list_values(
                    \(kind.rawValue)::text, \(prefix)::text, \(name)::text, \(min(max(limit, 1), 1000))::bigint)
                """
            ).map { row in try row.decode("name") }
        }
    }

    /// Gives a value another name, by which nobody moves.
    ///
    /// A name that is taken is refused.
    public func rename(_ kind: ValueKind, _ old: String, to new: String) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query(
                "select koppeling.rename_value(\(kind.rawValue)::text, \(old)::text, \(new)::text)")
        }
    }
}
