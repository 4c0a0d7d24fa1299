/// A value that can be bound to a statement, in PostgreSQL's binary format.
public protocol PostgresEncodable {
    /// The type that the parameter has for the server.
    static var postgresType: PostgresType { get }

    /// Whether the value is SQL's null.
    var isPostgresNull: Bool { get }

    /// Appends the binary form of a value that is not null.
    func encode(into bytes: inout [UInt8])
}

/// A value that can be read from a column, from PostgreSQL's binary format.
public protocol PostgresDecodable {
    /// Reads the value, or says why the column does not hold one.
    init(_ cell: Cell) throws(PostgresError)
}

/// A value that has a type of its own in the server, alone and in arrays.
public protocol PostgresElement: PostgresEncodable, PostgresDecodable, PostgresArrayable {}

extension PostgresEncodable {
    /// Most values are never null.
    public var isPostgresNull: Bool { false }
}

// An enumeration with a raw value is stored as the raw value.
extension PostgresEncodable where Self: RawRepresentable, RawValue: PostgresEncodable {
    /// The type of the raw value.
    public static var postgresType: PostgresType { RawValue.postgresType }

    /// Appends the raw value.
    public func encode(into bytes: inout [UInt8]) {
        rawValue.encode(into: &bytes)
    }
}

extension PostgresDecodable where Self: RawRepresentable, RawValue: PostgresDecodable {
    /// Reads the raw value and looks the case up.
    public init(_ cell: Cell) throws(PostgresError) {
        guard let value = Self(rawValue: try RawValue(cell)) else {
            throw cell.mismatch("a \(Self.self): it holds another value")
        }
        self = value
    }
}

extension PostgresElement where Self: RawRepresentable, RawValue: PostgresElement {
    /// The type of an array of raw values.
    public static var postgresArrayType: PostgresType { RawValue.postgresArrayType }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    /// The type of the value, so that the server knows what kind of null it gets.
    public static var postgresType: PostgresType { Wrapped.postgresType }

    /// Whether there is no value.
    public var isPostgresNull: Bool { self?.isPostgresNull ?? true }

    /// Appends the value.
    public func encode(into bytes: inout [UInt8]) {
        self?.encode(into: &bytes)
    }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    /// Reads the value, or nil for null.
    public init(_ cell: Cell) throws(PostgresError) {
        self = cell.isNull ? nil : try Wrapped(cell)
    }
}
