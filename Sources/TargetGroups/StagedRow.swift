/// Writes records of a file as rows of the staging table, in the text format of COPY.
struct StagedRow {
    /// The columns of the table that are written, in order.
    let names: String

    private let columns: ImportColumns
    private let cells: [Int]
    private let emails: [Int]

    init(columns: ImportColumns) {
        self.columns = columns
        var names = ["line"]
        var cells: [Int] = []
        var emails: [Int] = []
        for (index, meaning) in columns.meanings.enumerated() {
            switch meaning {
            case .field(let name):
                names.append(Self.renamed[name] ?? name)
                cells.append(index)
            case .email: emails.append(index)
            }
        }
        self.names = (names + (emails.isEmpty ? ["fault"] : ["addresses", "fault"])).joined(separator: ", ")
        self.cells = cells
        self.emails = emails
    }

    private static let renamed = ["id": "external_id", "function": "job_function"]
    private static let null = Array("\\N".utf8)
    /// Stands between the addresses of a row, and in the table between the items of a list: a control character, which
    /// no address may hold and which is a space anywhere else.
    private static let separator: UInt8 = 0x1f

    /// The row of this record, its line end included.
    func encode(_ record: CSVRecord) -> [UInt8] {
        var row = Array(String(record.line).utf8)
        row.reserveCapacity(record.bytes.count + 64)
        if let fault = fault(of: record) {
            for _ in 0..<(cells.count + (emails.isEmpty ? 0 : 1)) { row += [.tab] + Self.null }
            row.append(.tab)
            row += Array(fault.utf8)
        } else {
            for cell in cells {
                row.append(.tab)
                if record[cell].isEmpty {
                    row += Self.null
                } else {
                    append(record[cell], to: &row)
                }
            }
            if !emails.isEmpty { row.append(.tab) }
            for (place, cell) in emails.enumerated() {
                if place > 0 { row.append(Self.separator) }
                append(record[cell], to: &row)
            }
            row.append(.tab)
            row += Self.null
        }
        row.append(.lineFeed)
        return row
    }

    private func fault(of record: CSVRecord) -> String? {
        if let fault = record.fault { return fault }
        let named = columns.meanings.count
        guard (named...named + columns.unnamed).contains(record.count),
            (named..<record.count).allSatisfy({ record.isBlank($0) })
        else {
            return "has \(record.count) cells, and the header has \(named)"
        }
        guard String(validating: record.bytes, as: UTF8.self) != nil else { return "is not UTF-8" }
        return nil
    }

    private func append(_ cell: ArraySlice<UInt8>, to row: inout [UInt8]) {
        for byte in cell {
            switch byte {
            case .tab: row += [UInt8(ascii: "\\"), UInt8(ascii: "t")]
            case .lineFeed: row += [UInt8(ascii: "\\"), UInt8(ascii: "n")]
            case .carriageReturn: row += [UInt8(ascii: "\\"), UInt8(ascii: "r")]
            case UInt8(ascii: "\\"): row += [byte, byte]
            case Self.separator: row.append(UInt8(ascii: " "))
            default: row.append(byte)
            }
        }
    }
}
