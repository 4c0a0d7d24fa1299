/// One value of a result, in PostgreSQL's binary format.
public struct Cell {
    /// The type of the value.
    public let type: PostgresType
    /// The name of the column, for errors.
    public let column: String
    private let bytes: UnsafeRawBufferPointer?

    /// The bytes must outlive the cell, which is why only `Row` and arrays make one and pass it down.
    init(type: PostgresType, column: String, bytes: UnsafeRawBufferPointer?) {
        self.type = type
        self.column = column
        self.bytes = bytes
    }

    /// Whether the value is SQL's null.
    public var isNull: Bool { bytes == nil }

    /// The error for a value that is not what the caller asked for.
    public func mismatch(_ wanted: String) -> PostgresError {
        PostgresError(
            .decoding, "column \(column) (\(isNull ? "null" : "type \(type.oid)")) cannot be read as \(wanted)")
    }

    /// The bytes of a value of one of the given types.
    func bytes(of types: PostgresType..., as wanted: String) throws(PostgresError) -> UnsafeRawBufferPointer {
        guard let bytes, types.contains(type) else { throw mismatch(wanted) }
        return bytes
    }

    /// The bytes of a value of any type.
    func anyBytes(as wanted: String) throws(PostgresError) -> UnsafeRawBufferPointer {
        guard let bytes else { throw mismatch(wanted) }
        return bytes
    }
}

extension UnsafeRawBufferPointer {
    /// The big-endian number at the offset; the caller has checked the length.
    func bigEndian<Number: FixedWidthInteger>(at offset: Int = 0, as type: Number.Type = Number.self) -> Number {
        Number(bigEndian: loadUnaligned(fromByteOffset: offset, as: Number.self))
    }
}

extension [UInt8] {
    /// Appends the number, most significant byte first.
    mutating func append(bigEndian number: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }
}
