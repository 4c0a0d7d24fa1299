/// A Mailchimp API key, checked, with the data centre that it names.
///
/// The data centre becomes part of a host name, so nothing but `us` and up to three digits is let through.
public struct APIKey: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The data centre, such as `us12`.
    public let dataCentre: String

    /// The whole key, for the Authorization header only.
    let secret: String

    /// Reads a key; blanks around it, which a copied key often has, are ignored.
    public init(_ text: String) throws(MailchimpError) {
        let trimmed = text.drop(while: \.isWhitespace)
        let key = String(trimmed.reversed().drop(while: \.isWhitespace).reversed())
        let parts = key.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == 32, parts[0].allSatisfy(\.isHexDigit),
            let dataCentre = Self.dataCentre(String(parts[1]) ?? "")
        else {
            throw MailchimpError(
                .invalidKey,
                detail:
                    "This is not a Mailchimp API key. A key is 32 digits and letters a to f, a dash, and the data centre, "
                    + "such as 0123456789abcdef0123456789abcdef-us12. Copy it whole from Mailchimp: Account, Extras, API keys."
            )
        }
        self.dataCentre = dataCentre
        secret = key
    }

    /// The same text if it names a data centre, else nil.
    static func dataCentre(_ text: String) -> String? {
        let digits = text.utf8.dropFirst(2)
        let isOne =
            text.utf8.starts(with: "us".utf8) && (1...3).contains(digits.count)
            && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isOne ? text : nil
    }

    /// The data centre, and nothing of the secret.
    public var description: String { "API key of \(dataCentre)" }

    /// The data centre, and nothing of the secret.
    public var debugDescription: String { description }
}

extension APIKey: CustomReflectable {
    /// Hides the secret from whoever prints the key by reflection.
    public var customMirror: Mirror { Mirror(self, children: ["dataCentre": dataCentre]) }
}

extension UInt8 {
    fileprivate var isHexDigit: Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self)
    }
}
