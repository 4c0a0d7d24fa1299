import Postgres

/// What rules would do to a group, before they are saved.
public struct RulePreview: Sendable, Hashable, Codable {
    /// One of the rules.
    public struct Rule: Sendable, Hashable, Codable {
        /// Its place; the first is 1.
        public var rule: Int
        /// How many persons it matches.
        public var matches: Int64
        /// How many persons it and those before it match together.
        public var total: Int64
    }

    /// A person who would join or leave.
    public struct Person: Sendable, Hashable, Codable {
        /// What would happen.
        public enum Change: String, Sendable, Hashable, Codable {
            /// The person becomes a member.
            case join
            /// The person is no member any more.
            case leave
        }

        /// What would happen.
        public var change: Change
        /// The system that the person comes from.
        public var source: String
        /// The identity in that system.
        public var id: String
        /// The name.
        public var name: String
    }

    /// The rules, one by one.
    public var rules: [Rule]
    /// How many persons match at all.
    public var matches: Int64
    /// How many become members.
    public var joins: Int64
    /// How many are no members any more.
    public var leaves: Int64
    /// How many match but said no, and so stay out.
    public var unsubscribed: Int64
    /// A few of those who join and leave.
    public var sample: [Person]
    /// Whether the numbers are those of some thousand persons, made out for all.
    public var estimated: Bool
}

extension Rules {
    /// How long a preview may look at everybody before it is estimated, in milliseconds.
    private static let patience = 700

    /// What these rules would do to a group; nothing is written.
    ///
    /// It takes about a second: where everybody cannot be looked at in time, the numbers are an estimate that says so.
    ///
    /// - Parameters:
    ///   - rules: The criteria, rule by rule.
    ///   - group: The group.
    ///   - exact: Whether to look at everybody however long it takes.
    /// - Returns: The numbers and a sample of names.
    /// - Throws: ``TargetGroupsError`` when there is no such group, or a rule makes no sense.
    public func preview(
        _ rules: [[Criterion]], group: Int64, exact: Bool = false
    ) async throws(TargetGroupsError) -> RulePreview {
        try await translated {
            let criteria = try JSONText(encoding: rules)
            do {
                return try await pool.unlimitedTransaction { connection in
                    if !exact {
                        try await connection.query(
                            "select set_config('statement_timeout', \(String(Self.patience))::text, true)")
                    }
                    return try await connection.query(
                        "select koppeling.preview_rules(\(group)::bigint, \(criteria)::jsonb)"
                    ).scalar(as: JSONText.self).decode(RulePreview.self)
                }
            } catch let error as PostgresError {
                guard error.sqlState == "57014", !exact else { throw error }
            }
            return try await pool.query("select koppeling.estimate_rules(\(group)::bigint, \(criteria)::jsonb)")
                .scalar(as: JSONText.self).decode(RulePreview.self)
        }
    }
}
