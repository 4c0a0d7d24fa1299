public import FoundationEssentials

/// A moment as text in RFC 3339, in UTC with milliseconds: what SQL's `koppeling.iso8601` writes too.
extension Date {
    /// The moment of a text such as `2026-05-31T08:00:00Z`, with or without a fraction, at any offset.
    ///
    /// Stricter than the library, which takes the 31st of February for the 3rd of March.
    public init?(rfc3339 text: String) {
        let form = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)/
        guard let parts = try? form.wholeMatch(in: text),
            let moment = try? Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(text)
        else { return nil }
        let clock = parts.1 + "Z"
        guard (try? Date.ISO8601FormatStyle().parse(String(clock)))?.formatted(.iso8601) == String(clock) else {
            return nil
        }
        self = moment
    }

    /// The text of this moment, such as `2026-05-31T08:00:00.000Z`.
    public var rfc3339: String { formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true)) }
}
