public import Postgres

/// The values that persons and companies have; they come into being with them.
public struct Values: Sendable {
    private let pool: Pool

    /// The values in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
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
