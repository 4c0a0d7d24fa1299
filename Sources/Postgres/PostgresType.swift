/// A type of the server, by the number it has in every PostgreSQL database.
public struct PostgresType: Sendable, Hashable {
    /// The number of the type in `pg_type`.
    public let oid: UInt32

    /// The type with this number.
    public init(oid: UInt32) {
        self.oid = oid
    }

    static let bool = PostgresType(oid: 16)
    static let bytea = PostgresType(oid: 17)
    static let char = PostgresType(oid: 18)
    static let name = PostgresType(oid: 19)
    static let int8 = PostgresType(oid: 20)
    static let int2 = PostgresType(oid: 21)
    static let int4 = PostgresType(oid: 23)
    static let text = PostgresType(oid: 25)
    static let oid = PostgresType(oid: 26)
    static let json = PostgresType(oid: 114)
    static let float4 = PostgresType(oid: 700)
    static let float8 = PostgresType(oid: 701)
    static let date = PostgresType(oid: 1082)
    static let timestamp = PostgresType(oid: 1114)
    static let timestamptz = PostgresType(oid: 1184)
    static let numeric = PostgresType(oid: 1700)
    static let uuid = PostgresType(oid: 2950)
    static let jsonb = PostgresType(oid: 3802)

    static let boolArray = PostgresType(oid: 1000)
    static let byteaArray = PostgresType(oid: 1001)
    static let int4Array = PostgresType(oid: 1007)
    static let textArray = PostgresType(oid: 1009)
    static let int8Array = PostgresType(oid: 1016)
    static let float8Array = PostgresType(oid: 1022)
    static let timestamptzArray = PostgresType(oid: 1185)
    static let uuidArray = PostgresType(oid: 2951)
    static let jsonbArray = PostgresType(oid: 3807)
}
