import CLibPQ

// Sendable because a finished PGresult is never written again.
/// The rows of a result, held in libpq's memory until the last user lets go.
public final class Rows: @unchecked Sendable, RandomAccessCollection {
    private let result: OpaquePointer
    private let columns: [String]
    private let types: [PostgresType]
    private let columnIndices: [String: Int]

    /// Takes over the result and frees it in the end.
    init(_ result: OpaquePointer) {
        self.result = result
        let range = 0..<PQnfields(result)
        columns = range.map { column in PQfname(result, column).map { String(cString: $0) } ?? "" }
        types = range.map { PostgresType(oid: PQftype(result, $0)) }
        columnIndices = Dictionary(columns.enumerated().map { ($1, $0) }) { first, _ in first }
        endIndex = Int(PQntuples(result))
    }

    deinit {
        PQclear(result)
    }

    /// The first row's number.
    public var startIndex: Int { 0 }

    /// The number of rows.
    public let endIndex: Int

    /// The row with this number.
    public subscript(position: Int) -> Row {
        precondition(indices.contains(position), "row \(position) of \(count)")
        return Row(rows: self, number: position)
    }

    /// The names of the columns.
    public var columnNames: [String] { columns }

    /// How many rows the statement returned or changed.
    public var affected: Int {
        Int(String(cString: PQcmdTuples(result))) ?? 0
    }

    /// The first column of the only row.
    public func scalar<Value: PostgresDecodable>(as type: Value.Type = Value.self) throws(PostgresError) -> Value {
        guard count == 1 else { throw PostgresError(.decoding, "one row was expected, the result has \(count)") }
        return try self[0].decode(0)
    }

    func column(_ name: String) throws(PostgresError) -> Int {
        guard let column = columnIndices[name] else {
            let known = columns.joined(separator: ", ")
            throw PostgresError(.decoding, "the result has no column \(name), only: \(known)")
        }
        return column
    }

    func decode<Value: PostgresDecodable>(row: Int, column: Int) throws(PostgresError) -> Value {
        guard columns.indices.contains(column) else {
            throw PostgresError(.decoding, "the result has \(columns.count) columns, none at \(column)")
        }
        let (row, field) = (Int32(row), Int32(column))
        var bytes: UnsafeRawBufferPointer?
        if PQgetisnull(result, row, field) == 0 {
            bytes = UnsafeRawBufferPointer(
                start: PQgetvalue(result, row, field), count: Int(PQgetlength(result, row, field)))
        }
        // The cell does not outlive this call, and `self` does.
        return try withExtendedLifetime(self) { () throws(PostgresError) in
            try Value(Cell(type: types[column], column: columns[column], bytes: bytes))
        }
    }
}

/// One row of a result.
public struct Row: Sendable {
    let rows: Rows
    let number: Int

    /// The value of the column with this name.
    public func decode<Value: PostgresDecodable>(
        _ column: String, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value {
        try rows.decode(row: number, column: try rows.column(column))
    }

    /// The value of the column at this place, counted from zero.
    public func decode<Value: PostgresDecodable>(
        _ column: Int, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value {
        try rows.decode(row: number, column: column)
    }

    /// The values of the first columns, in order.
    public func decode<each Value: PostgresDecodable>(
        _ types: repeat (each Value).Type
    ) throws(PostgresError) -> (repeat each Value) {
        var column = -1
        func next<One: PostgresDecodable>() throws(PostgresError) -> One {
            column += 1
            return try rows.decode(row: number, column: column)
        }
        return (repeat try next() as each Value)
    }
}
