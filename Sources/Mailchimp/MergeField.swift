/// A field that a list keeps of every member; the address itself is none.
public struct MergeField: Sendable, Hashable, Decodable {
    /// The number by which a call names it.
    public var id: Int64?
    /// The name by which a member's values name it, such as `FNAME`.
    public var tag: String
    /// The name on the list's forms.
    public var name: String
    /// The type, such as `text`.
    public var type: String
    /// Whether a call that leaves it out is refused.
    public var isRequired: Bool
    /// The choices of a radio or dropdown field.
    public var choices: [String]

    private enum Key: String, CodingKey {
        case id = "merge_id", tag, name, type, isRequired = "required", options, choices
    }

    /// Reads a field; only its tag must be there.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        tag = try values.decode(String.self, forKey: .tag)
        id = values.integer(.id)
        name = values.text(.name) ?? tag
        type = values.text(.type) ?? "text"
        isRequired = values.flag(.isRequired) ?? false
        let options = try? values.nestedContainer(keyedBy: Key.self, forKey: .options)
        choices = options?.lenient([String].self, .choices) ?? []
    }
}
