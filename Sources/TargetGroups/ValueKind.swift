/// The kinds of values that persons and companies have and rules ask for, apart from companies themselves.
public enum ValueKind: String, Sendable, Hashable, CaseIterable {
    /// What a person is in a position.
    case function
    /// Where in a company.
    case department
    /// A tag on a person, "Group / Name".
    case personCategory
    /// A tag on a company.
    case companyCategory
}
