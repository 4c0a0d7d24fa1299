/// A merge field to be added to a list.
public struct NewMergeField: Sendable, Hashable, Encodable {
    /// What a field holds; Mailchimp lets nobody change it later.
    public enum Kind: String, Sendable, Hashable, Encodable {
        /// Up to 255 bytes of text; postcodes from outside the United States too.
        case text
        /// A number.
        case number
        /// A postal address in parts.
        case address
        /// A telephone number.
        case phone
        /// A day with its year.
        case date
        /// A day without a year.
        case birthday
        /// An address of a page.
        case url
        /// An address of a picture.
        case imageurl
        /// One of several choices, all of them shown.
        case radio
        /// One of several choices, shown one at a time.
        case dropdown
    }

    /// The longest tag that Mailchimp takes.
    public static let longestTag = 10

    /// The name by which a member's values name it, such as `FNAME`.
    public let tag: String
    /// The name on the list's forms.
    public let name: String
    /// What it holds.
    public let kind: Kind
    /// The choices of a radio or dropdown field.
    public let choices: [String]

    /// Makes a field, which no call is required to fill.
    ///
    /// - Throws: `invalidMergeFields` when Mailchimp would refuse the tag, or change it without a word.
    public init(tag: String, name: String, kind: Kind = .text, choices: [String] = []) throws(MailchimpError) {
        let isTag = tag.utf8.allSatisfy {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == UInt8(ascii: "_")
        }
        guard isTag, (1...Self.longestTag).contains(tag.utf8.count), tag != "EMAIL" else {
            throw MailchimpError(
                .invalidMergeFields,
                detail:
                    "A merge tag is 1 to \(Self.longestTag) capitals, digits and underscores, and not EMAIL, which every "
                    + "list has. Choose another tag.", fields: [.init(field: "tag", message: tag.cut(to: 100))])
        }
        self.tag = tag
        self.name = name
        self.kind = kind
        self.choices = choices
    }

    private enum Key: String, CodingKey { case tag, name, type, required, options, choices }

    /// Writes the field under Mailchimp's names.
    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: Key.self)
        try values.encode(tag, forKey: .tag)
        try values.encode(name, forKey: .name)
        try values.encode(kind, forKey: .type)
        try values.encode(false, forKey: .required)
        guard !choices.isEmpty else { return }
        var options = values.nestedContainer(keyedBy: Key.self, forKey: .options)
        try options.encode(choices, forKey: .choices)
    }
}
