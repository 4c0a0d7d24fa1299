/// How the program introduces itself to the services that it calls: `Koppeling/1.0 (+https://koppeling.example.org)`.
public struct UserAgent: Sendable, Hashable, CustomStringConvertible {
    /// The version of the program.
    public static let version = "1.0"

    /// The value of the header field.
    public let description: String

    /// Makes an introduction.
    ///
    /// What could end the comment or the header field is left out of the contact, and of a long one the end.
    ///
    /// - Parameter contact: An address or page where those who run the program can be reached.
    public init(contact: String? = nil) {
        let kept = (contact ?? "").unicodeScalars.lazy.filter {
            $0.value > 0x20 && $0.value < 0x7f && $0 != "(" && $0 != ")" && $0 != "\\"
        }.prefix(200)
        let name = "Koppeling/\(Self.version)"
        description = kept.isEmpty ? name : "\(name) (+\(String(String.UnicodeScalarView(kept))))"
    }
}
