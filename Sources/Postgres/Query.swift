/// A statement whose interpolated values are bound as parameters, never spliced into its text.
///
/// For example:
///
///     try await connection.query("select name from person where id = \(id)::bigint")
///
/// Every value carries its type, so a string meant as another type wants a cast: `\(text)::interval`.
public struct Query: Sendable, ExpressibleByStringInterpolation {
    /// The text, with `$1`, `$2`… where values were interpolated.
    public private(set) var sql: String
    private(set) var parameters: Parameters

    /// A statement without parameters.
    public init(stringLiteral sql: String) {
        self.sql = sql
        parameters = Parameters()
    }

    /// The statement that the interpolation describes.
    public init(stringInterpolation interpolation: Interpolation) {
        sql = interpolation.sql
        parameters = interpolation.parameters
    }

    /// Collects text and values.
    public struct Interpolation: StringInterpolationProtocol, Sendable {
        fileprivate var sql = ""
        fileprivate var parameters = Parameters()

        /// Makes room for the text.
        public init(literalCapacity: Int, interpolationCount: Int) {
            sql.reserveCapacity(literalCapacity + interpolationCount * 3)
        }

        /// Adds text of the statement.
        public mutating func appendLiteral(_ literal: String) {
            sql += literal
        }

        /// Binds a value.
        public mutating func appendInterpolation(_ value: some PostgresEncodable) {
            parameters.append(value)
            sql += "$\(parameters.count)"
        }

        /// Binds a value or null.
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
            parameters.append(value)
            sql += "$\(parameters.count)"
        }

        /// Splices text into the statement: for identifiers and fragments of our own, never for a value from outside.
        public mutating func appendInterpolation(unsafe text: String) {
            sql += text
        }

        /// Splices a name, quoted so that it can only be a name.
        public mutating func appendInterpolation(identifier name: String) {
            sql += quotedIdentifier(name)
        }
    }
}

/// The values of a statement as libpq wants them, in one buffer.
struct Parameters: Sendable {
    private(set) var types: [UInt32] = []
    private(set) var lengths: [Int32] = []
    private var offsets: [Int?] = []
    private var bytes: [UInt8] = []

    var count: Int { types.count }

    mutating func append<Value: PostgresEncodable>(_ value: Value) {
        types.append(Value.postgresType.oid)
        guard !value.isPostgresNull else {
            offsets.append(nil)
            lengths.append(0)
            return
        }
        let start = bytes.count
        value.encode(into: &bytes)
        offsets.append(start)
        lengths.append(Int32(clamping: bytes.count - start))
    }

    /// Calls the body with a pointer for each value, nil for a null.
    func withPointers<Result>(_ body: ([UnsafePointer<CChar>?]) -> Result) -> Result {
        // One byte more: an empty value still needs an address, because a null pointer means null.
        (bytes + [0]).withUnsafeBytes { buffer in
            let start = buffer.bindMemory(to: CChar.self).baseAddress
            return body(offsets.map { offset in offset.flatMap { start?.advanced(by: $0) } })
        }
    }
}

/// The name in double quotes, as SQL wants a name that may hold anything.
func quotedIdentifier(_ name: String) -> String {
    var quoted = "\""
    for character in name.unicodeScalars where character != "\0" {
        if character == "\"" { quoted += "\"" }
        quoted.unicodeScalars.append(character)
    }
    return quoted + "\""
}
