public import FoundationEssentials

/// Seconds between the server's epoch, the start of 2000, and Swift's, the start of 2001.
private let epochDistance: Int64 = 366 * 86_400

extension Date: PostgresElement {
    /// The server's `timestamptz`.
    public static var postgresType: PostgresType { .timestamptz }
    /// The server's `timestamptz[]`.
    public static var postgresArrayType: PostgresType { .timestamptzArray }

    /// Appends the microseconds since the start of 2000; the distant dates are the server's infinities.
    public func encode(into bytes: inout [UInt8]) {
        let microseconds =
            switch self {
            case Date.distantFuture...: Int64.max
            case ...Date.distantPast: Int64.min
            default: Int64((timeIntervalSinceReferenceDate * 1e6).rounded()) + epochDistance * 1_000_000
            }
        microseconds.encode(into: &bytes)
    }

    /// Reads a `timestamptz`, or a `timestamp` or `date` taken as UTC.
    public init(_ cell: Cell) throws(PostgresError) {
        let bytes = try cell.bytes(of: .timestamptz, .timestamp, .date, as: "Date")
        if cell.type == .date {
            let days: Int32 = bytes.bigEndian()
            self =
                Self.infinity(days)
                ?? Date(timeIntervalSinceReferenceDate: Double(Int64(days) * 86_400 - epochDistance))
        } else {
            let microseconds: Int64 = bytes.bigEndian()
            let seconds = { Double(microseconds - epochDistance * 1_000_000) / 1e6 }
            self = Self.infinity(microseconds) ?? Date(timeIntervalSinceReferenceDate: seconds())
        }
    }

    private static func infinity<Number: FixedWidthInteger>(_ number: Number) -> Date? {
        switch number {
        case .max: .distantFuture
        case .min: .distantPast
        default: nil
        }
    }
}

extension UUID: PostgresElement {
    /// The server's `uuid`.
    public static var postgresType: PostgresType { .uuid }
    /// The server's `uuid[]`.
    public static var postgresArrayType: PostgresType { .uuidArray }

    /// Appends sixteen bytes.
    public func encode(into bytes: inout [UInt8]) {
        withUnsafeBytes(of: uuid) { bytes.append(contentsOf: $0) }
    }

    /// Reads a `uuid`.
    public init(_ cell: Cell) throws(PostgresError) {
        let bytes = try cell.bytes(of: .uuid, as: "UUID")
        guard bytes.count == 16 else { throw cell.mismatch("UUID") }
        self = UUID(uuid: bytes.loadUnaligned(as: uuid_t.self))
    }
}
