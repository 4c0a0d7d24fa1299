import IO

/// Reads a CSV file record by record.
struct CSVReader {
    /// The bytes of the file's whole length.
    let size: Int
    /// How many bytes have been read.
    private(set) var position = 0
    /// What stands between cells, as the first line shows.
    let delimiter: UInt8

    private let file: FileReader
    private let encoding: TextEncoding
    private var parser: CSVParser
    private var piece: [UInt8]
    private var offset: Int
    private var isAtEnd = false

    /// Opens the file and looks at its first line.
    ///
    /// A byte order mark is passed over; records come out in UTF-8.
    init(path: String, keepsRaw: Bool = false) async throws {
        encoding = try await TextEncoding.detect(path: path)
        file = try await FileReader.open(path)
        size = file.size
        piece = try await file.next()
        position = piece.count
        offset = piece.starts(with: TextEncoding.byteOrderMark) ? TextEncoding.byteOrderMark.count : 0
        piece = encoding.decoded(piece)
        delimiter = Self.delimiter(of: piece)
        parser = CSVParser(delimiter: delimiter, keepsRaw: keepsRaw)
    }

    /// The next record that holds anything; nil at the end of the file.
    mutating func next() async throws -> CSVRecord? {
        while !isAtEnd {
            if let record = try parser.next(in: piece, at: &offset) {
                if record.isBlank { continue }
                return record
            }
            let next = try await file.next()
            piece = encoding.decoded(next)
            offset = 0
            position += next.count
            if piece.isEmpty {
                isAtEnd = true
                if let record = try parser.finish(), !record.isBlank { return record }
            }
        }
        return nil
    }

    /// The candidate that occurs most often in the first line, outside quotes.
    private static func delimiter(of piece: [UInt8]) -> UInt8 {
        var counts: [UInt8: Int] = [:]
        var isQuoted = false
        for byte in piece {
            if byte == .quote { isQuoted.toggle() }
            if isQuoted { continue }
            if byte == .lineFeed || byte == .carriageReturn { break }
            counts[byte, default: 0] += 1
        }
        return [UInt8.comma, .semicolon, .tab].max { counts[$0, default: 0] < counts[$1, default: 0] } ?? .comma
    }
}
