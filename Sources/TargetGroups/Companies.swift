public import Postgres

/// The companies of the person file.
///
/// Everybody who has a position at a company that changed is evaluated again, by a job that the same transaction enqueues.
public struct Companies: Sendable {
    private let pool: Pool

    /// The companies in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Adds and changes the companies of a JSON list; a fault in any of them changes nothing.
    ///
    /// - Returns: How many companies the list holds.
    @discardableResult
    public func put(_ companies: JSONText) async throws(TargetGroupsError) -> Int64 {
        try await translated {
            try await pool.query("select koppeling.put_companies(\(companies)::jsonb)").scalar()
        }
    }

    /// The company with this identity, which is compared without case; the survivor of one that was merged.
    public func find(source: String, id: String) async throws(TargetGroupsError) -> Company? {
        try await translated {
            let rows = try await pool.query(
                "select koppeling.company_json(koppeling.find_company(\(source)::text, \(id)::text))")
            return try rows.scalar(as: JSONText?.self)?.decode(Company.self)
        }
    }

    /// Merges a company into the survivor: positions, categories, and the rules that ask for it go over.
    ///
    /// The other identity means the survivor from now on.
    public func merge(_ other: Identity, into survivor: Identity, actor: String) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query(
                """
                select koppeling.merge_companies(
                    \(survivor.source)::text, \(survivor.id)::text, \(other.source)::text, \(other.id)::text,
                    \(actor)::text)
                """)
        }
    }
}
