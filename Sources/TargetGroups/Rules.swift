import FoundationEssentials
public import Postgres

/// What a person must have, or must not have, for a rule to match.
///
/// What a rule asks of a function, a department, a company and its categories holds at one and the same position.
public struct Criterion: Sendable, Hashable, Codable {
    /// What the value is a value of.
    public enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// The function of a position.
        case function
        /// The department of a position.
        case department
        /// The company of a position, written "source/id", or by a name that only one company has.
        case company
        /// A category of the person, written "Group / Name".
        case personCategory
        /// A category of the company of a position.
        case companyCategory
    }

    /// What the value is a value of.
    public var kind: Kind
    /// The value by its name; nil when what was named is gone.
    public var value: String?
    /// Whether the person must not have it.
    public var negated: Bool

    /// A criterion.
    public init(_ value: String?, kind: Kind = .personCategory, negated: Bool = false) {
        self.kind = kind
        self.value = value
        self.negated = negated
    }
}

/// The rules of a group: a person matches when all criteria of any of them hold.
public struct RuleSet: Sendable, Hashable, Codable {
    /// The version, which a later save must name.
    public var version: Int
    /// The criteria, rule by rule.
    public var rules: [[Criterion]]
}

/// The rules of target groups.
public struct Rules: Sendable {
    /// What saving rules led to.
    public struct Saved: Sendable, Hashable, Codable {
        /// The version of the rules now.
        public var version: Int
        /// How many memberships changed.
        public var changed: Int64
    }

    let pool: Pool

    /// The rules in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// The rules of a group.
    public func list(group: Int64) async throws(TargetGroupsError) -> RuleSet {
        try await translated {
            let rows = try await pool.query(
                """
                select g.rules_version, koppeling.rules_json(g.id) as rules
                from koppeling.target_group g where g.id = \(group)::bigint
                """)
            guard let row = rows.first else { throw TargetGroupsError(.notFound, "there is no target group \(group)") }
            return RuleSet(
                version: try row.decode("rules_version"),
                rules: try row.decode("rules", as: JSONText.self).decode([[Criterion]].self))
        }
    }

    /// Replaces the rules of a group and brings all its memberships up to date.
    ///
    /// - Parameters:
    ///   - rules: The criteria, rule by rule.
    ///   - group: The group.
    ///   - version: The version that the author saw; any other is refused as stale.
    ///   - confirmOnlyNegated: Whether a rule that only excludes, and so matches nearly everybody, is meant.
    ///   - actor: Who saves them.
    /// - Returns: The new version, and how many memberships changed.
    /// - Throws: `stale` when somebody else saved meanwhile, `needsConfirmation` for a rule that only excludes.
    public func save(
        _ rules: [[Criterion]], group: Int64, over version: Int, confirmOnlyNegated: Bool = false, actor: String
    ) async throws(TargetGroupsError) -> Saved {
        try await translated {
            let criteria = try JSONText(encoding: rules)
            let rows = try await pool.unlimitedTransaction { connection in
                try await connection.query(
                    """
                    select version, changed from koppeling.save_rules(
                        \(group)::bigint, \(version)::int, \(criteria)::jsonb, \(confirmOnlyNegated)::boolean,
                        \(actor)::text)
                    """)
            }
            return Saved(version: try rows[0].decode("version"), changed: try rows[0].decode("changed"))
        }
    }
}
