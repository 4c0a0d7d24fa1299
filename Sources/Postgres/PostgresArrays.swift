/// A value of which a Swift array can be bound and read.
public protocol PostgresArrayable {
    /// The type that an array of these has for the server.
    static var postgresArrayType: PostgresType { get }

    /// Appends the binary form of the array.
    static func encodeArray(_ array: [Self], into bytes: inout [UInt8])

    /// Reads the array.
    static func decodeArray(_ cell: Cell) throws(PostgresError) -> [Self]
}

extension Array: PostgresEncodable where Element: PostgresArrayable {
    /// The type of the array.
    public static var postgresType: PostgresType { Element.postgresArrayType }

    /// Appends all elements.
    public func encode(into bytes: inout [UInt8]) {
        Element.encodeArray(self, into: &bytes)
    }
}

extension Array: PostgresDecodable where Element: PostgresArrayable {
    /// Reads an array of one dimension.
    public init(_ cell: Cell) throws(PostgresError) {
        self = try Element.decodeArray(cell)
    }
}

// Bytes are one value of the server, not an array of it.
extension UInt8: PostgresArrayable {
    /// The server's `bytea`.
    public static var postgresArrayType: PostgresType { .bytea }

    /// Appends the bytes.
    public static func encodeArray(_ array: [UInt8], into bytes: inout [UInt8]) {
        bytes.append(contentsOf: array)
    }

    /// Reads a `bytea`.
    public static func decodeArray(_ cell: Cell) throws(PostgresError) -> [UInt8] {
        [UInt8](try cell.bytes(of: .bytea, as: "bytes: cast it to ::bytea"))
    }
}

extension [UInt8]: PostgresElement, PostgresArrayable {
    /// The server's `bytea[]`.
    public static var postgresArrayType: PostgresType { .byteaArray }
}

extension Optional: PostgresArrayable where Wrapped: PostgresElement {
    /// An array may hold nulls, whatever its type.
    public static var postgresArrayType: PostgresType { Wrapped.postgresArrayType }
}

extension Optional: PostgresElement where Wrapped: PostgresElement {}

// The wire form: the number of dimensions, whether there are nulls, the type of the elements; for each dimension its
// length and the number of its first element; then each element with its length, -1 for a null.
extension PostgresArrayable where Self: PostgresElement {
    /// Appends the elements as an array of one dimension.
    public static func encodeArray(_ array: [Self], into bytes: inout [UInt8]) {
        bytes.append(bigEndian: Int32(array.isEmpty ? 0 : 1))
        bytes.append(bigEndian: Int32(array.contains { $0.isPostgresNull } ? 1 : 0))
        bytes.append(bigEndian: postgresType.oid)
        guard !array.isEmpty else { return }
        bytes.append(bigEndian: Int32(clamping: array.count))
        bytes.append(bigEndian: Int32(1))
        for element in array {
            guard !element.isPostgresNull else {
                bytes.append(bigEndian: Int32(-1))
                continue
            }
            let start = bytes.count
            bytes.append(bigEndian: Int32(0))
            element.encode(into: &bytes)
            let length = Int32(clamping: bytes.count - start - 4)
            withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(start..<start + 4, with: $0) }
        }
    }

    /// Reads an array of one dimension.
    public static func decodeArray(_ cell: Cell) throws(PostgresError) -> [Self] {
        let mismatch = cell.mismatch("an array of \(Self.self)")
        let bytes = try cell.anyBytes(as: "an array of \(Self.self)")
        guard bytes.count >= 12, bytes.bigEndian(as: Int32.self) <= 1 else { throw mismatch }
        let type = PostgresType(oid: bytes.bigEndian(at: 8))
        guard bytes.bigEndian(as: Int32.self) == 1 else {
            // An empty array names its element type too, and only that tells it from a value of another kind.
            guard bytes.count == 12 else { throw mismatch }
            return []
        }
        guard bytes.count >= 20 else { throw mismatch }
        let count = Int(bytes.bigEndian(at: 12, as: Int32.self))
        guard count >= 0, count <= bytes.count / 4 else { throw mismatch }
        var elements: [Self] = []
        elements.reserveCapacity(count)
        var offset = 20
        for _ in 0..<count {
            guard offset + 4 <= bytes.count else { throw mismatch }
            let length = Int(bytes.bigEndian(at: offset, as: Int32.self))
            offset += 4
            var value: UnsafeRawBufferPointer?
            if length >= 0 {
                guard offset + length <= bytes.count else { throw mismatch }
                value = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
                offset += length
            }
            elements.append(try Self(Cell(type: type, column: cell.column, bytes: value)))
        }
        return elements
    }
}
