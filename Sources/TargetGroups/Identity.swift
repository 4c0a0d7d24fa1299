/// How other systems name a person or a company; compared without case.
public struct Identity: Sendable, Hashable {
    /// The system.
    public var source: String
    /// The id in that system.
    public var id: String

    /// The identity that a system gave.
    public init(source: String, id: String) {
        self.source = source
        self.id = id
    }
}
