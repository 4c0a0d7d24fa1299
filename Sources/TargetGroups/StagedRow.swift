/// Writes records of a file as rows of the staging table, in the text format of COPY.
struct StagedRow {
    private let columns: ImportColumns
    private let cells: [String: Int]
    private let emails: [Int]
    private let categories: Int?

    init(columns: ImportColumns) {
        self.columns = columns
        var cells: [String: Int] = [:]
        var emails: [Int] = []
        var categories: Int?
        for (index, meaning) in columns.meanings.enumerated() {
            switch meaning {
            case .field(let name): cells[name] = index
            case .email: emails.append(index)
            case .categories: categories = index
            }
        }
        self.cells = cells
        self.emails = emails
        self.categories = categories
    }

    private static let fields = ["source", "id", "given_name", "initials", "prefixes", "family_name", "gender"]
    private static let null = Array("\\N".utf8)
    /// Stands between the addresses of a row: a control character, which no address may hold.
    private static let separator: UInt8 = 0x1f

    /// The row of this record, its line end included.
    func encode(_ record: CSVRecord) -> [UInt8] {
        var row = Array(String(record.line).utf8)
        row.reserveCapacity(record.bytes.count + 64)
        if let fault = fault(of: record) {
            for _ in 0..<9 { row += [.tab] + Self.null }
            row.append(.tab)
            row += Array(fault.utf8)
        } else {
            for field in Self.fields {
                row.append(.tab)
                append(cells[field], of: record, to: &row)
            }
            row.append(.tab)
            for (place, cell) in emails.enumerated() {
                if place > 0 { row.append(Self.separator) }
                for byte in record[cell] { append(byte == Self.separator ? UInt8(ascii: " ") : byte, to: &row) }
            }
            row.append(.tab)
            append(categories, of: record, to: &row)
            row.append(.tab)
            row += Self.null
        }
        row.append(.lineFeed)
        return row
    }

    private func fault(of record: CSVRecord) -> String? {
        if let fault = record.fault { return fault }
        guard record.count == columns.meanings.count else {
            return "has \(record.count) cells, and the header has \(columns.meanings.count)"
        }
        guard String(validating: record.bytes, as: UTF8.self) != nil else { return "is not UTF-8" }
        return nil
    }

    private func append(_ cell: Int?, of record: CSVRecord, to row: inout [UInt8]) {
        guard let cell, !record[cell].isEmpty else {
            row += Self.null
            return
        }
        for byte in record[cell] { append(byte, to: &row) }
    }

    private func append(_ byte: UInt8, to row: inout [UInt8]) {
        switch byte {
        case .tab: row += Array("\\t".utf8)
        case .lineFeed: row += Array("\\n".utf8)
        case .carriageReturn: row += Array("\\r".utf8)
        case UInt8(ascii: "\\"): row += Array("\\\\".utf8)
        default: row.append(byte)
        }
    }
}
