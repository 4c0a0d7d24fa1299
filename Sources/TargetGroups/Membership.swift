public import FoundationEssentials

/// A hand's decision on a person in a group.
public enum Override: String, Sendable, Hashable, Codable, CaseIterable {
    /// The rules decide.
    case none
    /// Added by hand.
    case include
    /// Removed by hand.
    case exclude
}

/// Why a membership is inactive, from the strongest reason to the weakest.
public enum Reason: String, Sendable, Hashable, Codable, CaseIterable {
    /// The person was erased.
    case erased
    /// The person is archived.
    case archived
    /// The contact reported a mailing as spam.
    case complained
    /// The contact said no, in Mailchimp or to us.
    case unsubscribed
    /// The address bounced.
    case cleaned
    /// The contact was deleted for good at Mailchimp.
    case forgotten
    /// The contact was archived inside Mailchimp.
    case removedInMailchimp
    /// Somebody removed the person by hand.
    case manual
    /// No rule matches any more.
    case ruleNoLongerMatches
}

/// A person in a group, as it stands.
public struct Membership: Sendable, Hashable, Codable {
    /// Whether the person belongs to the group.
    public enum Status: String, Sendable, Hashable, Codable, CaseIterable {
        /// A member.
        case active
        /// No member, for the reasons given.
        case inactive
    }

    /// What made a person a member.
    public enum Via: String, Sendable, Hashable, Codable {
        /// Added by hand.
        case manual
        /// A rule matches.
        case rule
    }

    /// The person's number.
    public var person: Int64
    /// The system that the person comes from.
    public var source: String
    /// The identity in that system.
    public var externalID: String
    /// The given name, else the initials.
    public var firstName: String
    /// Prefixes and family name.
    public var lastName: String
    /// The address that the group writes to.
    public var address: String?
    /// Whether the person belongs to the group.
    public var status: Status
    /// What made the person a member, while active.
    public var via: Via?
    /// Why the membership is inactive, the reason to show first.
    public var reasons: [Reason]
    /// What a hand decided.
    public var override: Override
    /// When the status, its origin or the reasons last changed.
    public var changedAt: Date
}

/// A page of memberships.
public struct MembershipPage: Sendable, Hashable, Codable {
    /// Where the next page begins.
    public struct Cursor: Sendable, Hashable, Codable, LosslessStringConvertible {
        var name: String
        var person: Int64

        init(name: String, person: Int64) {
            self.name = name
            self.person = person
        }

        /// Reads the text of a cursor; nil when it is none.
        public init?(_ text: String) {
            let parts = text.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let person = Int64(parts[0]) else { return nil }
            self.init(name: String(parts[1]), person: person)
        }

        /// The cursor as text.
        public var description: String { "\(person) \(name)" }
    }

    /// The memberships, by family name.
    public var memberships: [Membership]
    /// Where the next page begins; nil after the last.
    public var next: Cursor?
}
