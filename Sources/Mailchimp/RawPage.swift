public import FoundationEssentials

/// A JSON object as it came, checked so that PostgreSQL surely takes it, and that it holds the list which was asked for.
///
/// What JSON allows in a string but `jsonb` does not store, a zero character and half of a surrogate pair, is replaced by
/// U+FFFD, and a `last_changed` or `timestamp_opt` that is no point in time by "", so that one odd contact does not cost
/// the page. Without its list an object says nothing, least of all "nobody".
public struct RawPage: Sendable {
    /// What the page after this one is told by.
    public struct Contact: Sendable, Hashable {
        /// Its `contact_id`.
        public var id: String?
        /// Its `last_changed`.
        public var lastChanged: Date?
    }

    /// The JSON text.
    public let bytes: [UInt8]
    /// How many objects its list holds.
    public var count: Int { contacts.count }
    /// The objects of its list, as far as they are contacts, in their order.
    public let contacts: [Contact]

    /// Nil when the bytes are no such object.
    ///
    /// - Parameters:
    ///   - bytes: What came; a byte order mark before it is taken away.
    ///   - list: The one key of the object whose value must be an array of objects.
    init?(_ bytes: [UInt8], of list: String) {
        var bytes = bytes
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes.removeFirst(3) }
        guard (try? UTF8Span(validating: bytes.span)) != nil else { return nil }
        var scanner = JSONScanner(bytes, list: list, moments: ["last_changed", "timestamp_opt"])
        guard scanner.isWhole() else { return nil }
        self.bytes = scanner.repaired
        contacts = scanner.contacts
    }

    /// Whether the first character is that of a JSON object.
    static func looksLikeAnObject(_ bytes: [UInt8]) -> Bool {
        bytes.first { $0 > 0x20 } == UInt8(ascii: "{")
    }
}
