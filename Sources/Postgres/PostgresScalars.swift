extension Bool: PostgresElement {
    /// The server's `boolean`.
    public static var postgresType: PostgresType { .bool }
    /// The server's `boolean[]`.
    public static var postgresArrayType: PostgresType { .boolArray }

    /// Appends one byte.
    public func encode(into bytes: inout [UInt8]) {
        bytes.append(self ? 1 : 0)
    }

    /// Reads a `boolean`.
    public init(_ cell: Cell) throws(PostgresError) {
        self = try cell.bytes(of: .bool, as: "Bool").first == 1
    }
}

extension Int64: PostgresElement {
    /// The server's `bigint`.
    public static var postgresType: PostgresType { .int8 }
    /// The server's `bigint[]`.
    public static var postgresArrayType: PostgresType { .int8Array }

    /// Appends eight bytes.
    public func encode(into bytes: inout [UInt8]) {
        bytes.append(bigEndian: self)
    }

    /// Reads a `smallint`, `integer`, `bigint` or `oid`.
    public init(_ cell: Cell) throws(PostgresError) {
        let bytes = try cell.bytes(of: .int8, .int4, .int2, .oid, as: "an integer: cast it, to ::bigint for example")
        self =
            switch cell.type {
            case .int8: bytes.bigEndian()
            case .int4: Int64(bytes.bigEndian(as: Int32.self))
            case .int2: Int64(bytes.bigEndian(as: Int16.self))
            default: Int64(bytes.bigEndian(as: UInt32.self))
            }
    }
}

extension Int: PostgresElement {
    /// The server's `bigint`.
    public static var postgresType: PostgresType { .int8 }
    /// The server's `bigint[]`.
    public static var postgresArrayType: PostgresType { .int8Array }

    /// Appends eight bytes.
    public func encode(into bytes: inout [UInt8]) {
        Int64(self).encode(into: &bytes)
    }

    /// Reads a `smallint`, `integer`, `bigint` or `oid`.
    public init(_ cell: Cell) throws(PostgresError) {
        self = Int(try Int64(cell))
    }
}

extension Int32: PostgresElement {
    /// The server's `integer`.
    public static var postgresType: PostgresType { .int4 }
    /// The server's `integer[]`.
    public static var postgresArrayType: PostgresType { .int4Array }

    /// Appends four bytes.
    public func encode(into bytes: inout [UInt8]) {
        bytes.append(bigEndian: self)
    }

    /// Reads any integer that fits.
    public init(_ cell: Cell) throws(PostgresError) {
        guard let value = Int32(exactly: try Int64(cell)) else { throw cell.mismatch("Int32: it is too big") }
        self = value
    }
}

extension Double: PostgresElement {
    /// The server's `double precision`.
    public static var postgresType: PostgresType { .float8 }
    /// The server's `double precision[]`.
    public static var postgresArrayType: PostgresType { .float8Array }

    /// Appends eight bytes.
    public func encode(into bytes: inout [UInt8]) {
        bytes.append(bigEndian: bitPattern)
    }

    /// Reads a `real` or `double precision`.
    public init(_ cell: Cell) throws(PostgresError) {
        let bytes = try cell.bytes(of: .float8, .float4, as: "Double: cast it to ::float8")
        self =
            cell.type == .float8 ? Double(bitPattern: bytes.bigEndian()) : Double(Float(bitPattern: bytes.bigEndian()))
    }
}

extension String: PostgresElement {
    /// The server's `text`.
    public static var postgresType: PostgresType { .text }
    /// The server's `text[]`.
    public static var postgresArrayType: PostgresType { .textArray }

    /// Appends the text as UTF-8.
    public func encode(into bytes: inout [UInt8]) {
        bytes.append(contentsOf: utf8)
    }

    /// Types whose binary form is not text; what is not listed is text, a name, an enumeration, JSON.
    private static let binaryTypes: Set<PostgresType> = [
        .bool, .bytea, .int8, .int2, .int4, .oid, .float4, .float8, .date, .timestamp, .timestamptz, .numeric, .uuid,
        PostgresType(oid: 1186), PostgresType(oid: 1083), PostgresType(oid: 1266), PostgresType(oid: 869),
        PostgresType(oid: 650), PostgresType(oid: 27), PostgresType(oid: 28), PostgresType(oid: 3220),
    ]

    /// Reads a text, a name, the label of an enumeration, or JSON.
    public init(_ cell: Cell) throws(PostgresError) {
        guard !Self.binaryTypes.contains(cell.type) else { throw cell.mismatch("String: cast it to ::text") }
        var bytes = try cell.anyBytes(as: "String")
        // jsonb starts with the version of its format.
        if cell.type == .jsonb { bytes = UnsafeRawBufferPointer(rebasing: bytes.dropFirst()) }
        self = String(decoding: bytes, as: UTF8.self)
    }
}
