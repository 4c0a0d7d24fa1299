public import FoundationEssentials
import Postgres

/// Why a person is, or is not, a member of a group.
public struct Explanation: Sendable, Hashable, Codable {
    /// An open entry of the ledger that binds the person.
    public struct Suppression: Sendable, Hashable, Codable {
        /// Why nothing may be sent.
        public var reason: Reason
        /// Who said so: mailchimp or user.
        public var source: String
        /// When it was said.
        public var occurredAt: Date
        /// At what it stands: person, address or contact.
        public var standsAt: String
        /// Which user recorded it; nil when Mailchimp said so.
        public var actor: String?

        private enum CodingKeys: String, CodingKey {
            case reason, source, actor
            case occurredAt = "occurred_at"
            case standsAt = "stands_at"
        }
    }

    /// A change that was recorded.
    public struct Change: Sendable, Hashable, Codable {
        /// When.
        public var at: Date
        /// Of what: status, override, person or rules.
        public var kind: String
        /// What it was.
        public var old: Recorded?
        /// What it became.
        public var new: Recorded?
        /// Who did it.
        public var actor: String
        /// What brought it about.
        public var cause: String
    }

    /// The moment that this is about; nil for now.
    public var at: Date?
    /// The status, or nil when there is no membership.
    public var status: Membership.Status?
    /// What made the person a member, while active.
    public var via: Membership.Via?
    /// Why the membership is inactive, the reason to show first.
    public var reasons: [Reason]
    /// Whether a rule matches, as of the last evaluation.
    public var ruleMatch: Bool
    /// The place of the rule that matches.
    public var matchedRule: Int?
    /// What that rule asks for, in words; nil when it is not there any more.
    public var ruleText: String?
    /// What a hand decided.
    public var override: Override
    /// Whether the person was ever a member.
    public var everMember: Bool
    /// Whether a change of the person still waits to be evaluated.
    public var isPending: Bool
    /// The open entries of the ledger at the person or an address she holds.
    public var suppressions: [Suppression]
    /// The last changes, the newest first.
    public var changes: [Change]

    private enum CodingKeys: String, CodingKey {
        case at, status, via, reasons, override, suppressions, changes
        case ruleMatch = "rule_match"
        case matchedRule = "matched_rule"
        case ruleText = "rule_text"
        case everMember = "ever_member"
        case isPending = "is_pending"
    }
}

extension Memberships {
    /// Why a person is, or is not, a member of a group: the facts, and how they came about; now, or at a moment that the
    /// audit reaches.
    public func why(
        person: Int64, group: Int64, at moment: Date? = nil
    ) async throws(TargetGroupsError) -> Explanation {
        try await translated {
            let rows = try await pool.query(
                "select koppeling.explain_membership(\(group)::bigint, \(person)::bigint, \(moment)::timestamptz)")
            return try rows.scalar(as: JSONText.self).decode(Explanation.self)
        }
    }
}
