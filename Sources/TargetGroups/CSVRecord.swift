/// One record of a CSV file: a line, or several when a quoted cell spans them.
struct CSVRecord: Sendable {
    /// The line of the file on which it begins; the first is 1.
    var line: Int
    /// The cells' contents, one after the other.
    private(set) var bytes: [UInt8] = []
    /// Where each cell ends in `bytes`.
    private(set) var ends: [Int] = []
    /// The record as it stands in the file, without its line end; empty unless asked for.
    var raw: [UInt8] = []
    /// What is wrong with it as CSV.
    var fault: String?

    init(line: Int) {
        self.line = line
        bytes.reserveCapacity(256)
        ends.reserveCapacity(16)
    }

    /// How many cells there are.
    var count: Int { ends.count }

    /// Whether no cell holds anything, as in the rows that spreadsheets leave behind.
    var isBlank: Bool { bytes.isEmpty && fault == nil }

    /// The length of the cell that is being read.
    var openLength: Int { bytes.count - (ends.last ?? 0) }

    /// The content of a cell.
    subscript(cell: Int) -> ArraySlice<UInt8> {
        bytes[(cell == 0 ? 0 : ends[cell - 1])..<ends[cell]]
    }

    /// The content of a cell as text, with a mark in place of what is not UTF-8.
    func text(_ cell: Int) -> String {
        String(decoding: self[cell], as: UTF8.self)
    }

    /// Whether a cell holds spaces at most.
    func isBlank(_ cell: Int) -> Bool { self[cell].allSatisfy { $0 == UInt8(ascii: " ") || $0 == .tab } }

    mutating func append(_ byte: UInt8) {
        bytes.append(byte)
    }

    mutating func endCell() {
        ends.append(bytes.count)
    }
}
