import IO
import Postgres

/// The rows of an import that had faults, as they stood in the file, with a column that says why.
struct RejectsFile: ~Copyable {
    private let writer: FileWriter

    /// Reads the file once more and writes what the import's faults are about; the result appears with `finish`.
    static func write(
        to path: String, from source: String, columns: ImportColumns, connection: Connection
    ) async throws -> RejectsFile {
        let writer = try await FileWriter.create(path)
        var reader = try await CSVReader(path: source, keepsRaw: true)
        if let header = try await reader.next() {
            try await writer.write(header.raw + [reader.delimiter] + Array("reason\n".utf8))
        }
        var faults = FaultPages(columns: columns)
        while let fault = try await faults.next(on: connection) {
            while let record = try await reader.next() {
                guard record.line >= fault.line else { continue }
                try await writer.write(record.raw + [reader.delimiter] + quoted(fault.reason) + [.lineFeed])
                break
            }
        }
        return RejectsFile(writer: writer)
    }

    /// Lets the file appear under its name.
    func finish() async throws {
        try await writer.finish()
    }

    private static func quoted(_ text: String) -> [UInt8] {
        [.quote] + text.utf8.flatMap { $0 == .quote ? [.quote, .quote] : [$0] } + [.quote]
    }
}

/// The lines with faults and all that is wrong with each, in the order of the file, some at a time.
private struct FaultPages {
    let columns: ImportColumns
    private var page: [(line: Int, reason: String)] = []
    private var next = 0
    private var line = 0

    init(columns: ImportColumns) {
        self.columns = columns
    }

    mutating func next(on connection: Connection) async throws -> (line: Int, reason: String)? {
        if next == page.count {
            let rows = try await connection.query(
                """
                select line, array_agg(coalesce(field, '') order by field) as fields,
                    array_agg(message order by field) as messages
                from import_fault where line > \(line)::bigint
                group by line order by line limit 1000
                """)
            page = try rows.map { row in
                let fields = try row.decode("fields", as: [String].self)
                let messages = try row.decode("messages", as: [String].self)
                let reasons = zip(fields, messages).map { field, message in
                    field.isEmpty ? message : "\(columns.header(of: field)): \(message)"
                }
                return (try row.decode("line"), reasons.joined(separator: "; "))
            }
            next = 0
        }
        guard next < page.count else { return nil }
        defer { next += 1 }
        line = page[next].line
        return page[next]
    }
}
