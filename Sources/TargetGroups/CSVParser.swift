/// Takes CSV apart as RFC 4180 has it, piece by piece, holding no more than one record.
///
/// A record that is not well-formed comes out with its fault, and the next one is read as usual. Only a quote that is
/// never closed ends everything, because what follows it cannot be told apart.
struct CSVParser {
    /// The most bytes of one cell.
    static let cellLimit = 65_536
    /// The most cells of one record.
    static let recordLimit = 500

    private enum State {
        case cellStart
        case plain
        case quoted
        case quoteInQuoted
        case carriageReturn
    }

    private let delimiter: UInt8
    private let keepsRaw: Bool
    private var state = State.cellStart
    private var line = 1
    private var record = CSVRecord(line: 1)

    init(delimiter: UInt8, keepsRaw: Bool = false) {
        self.delimiter = delimiter
        self.keepsRaw = keepsRaw
    }

    /// Reads on in a piece of the file; returns when a record is complete, or nil when the piece is used up.
    mutating func next(in piece: [UInt8], at position: inout Int) throws(TargetGroupsError) -> CSVRecord? {
        while position < piece.count {
            let byte = piece[position]
            if state == .carriageReturn {
                if byte == .lineFeed { position += 1 }
                return take()
            }
            position += 1
            if keepsRaw { record.raw.append(byte) }
            switch (state, byte) {
            case (.cellStart, .quote): state = .quoted
            case (.quoted, .quote): state = .quoteInQuoted
            case (.quoted, _):
                if byte == .lineFeed { line += 1 }
                guard record.openLength < Self.cellLimit else { throw unclosed() }
                append(byte)
            case (.quoteInQuoted, .quote):
                append(byte)
                state = .quoted
            case (_, delimiter):
                endCell()
                state = .cellStart
            case (_, .lineFeed):
                if keepsRaw { record.raw.removeLast() }
                return take()
            case (_, .carriageReturn):
                if keepsRaw { record.raw.removeLast() }
                state = .carriageReturn
            case (.quoteInQuoted, _):
                record.fault = "has text behind a closing quote"
                state = .plain
            default:
                append(byte)
                state = .plain
            }
        }
        return nil
    }

    /// The last record, when the file does not end with a line end.
    mutating func finish() throws(TargetGroupsError) -> CSVRecord? {
        guard state != .quoted else { throw unclosed() }
        guard state != .cellStart || record.count > 0 else { return nil }
        return take()
    }

    private mutating func append(_ byte: UInt8) {
        if byte == 0 {
            record.fault = "holds a NUL character"
        } else if record.openLength < Self.cellLimit {
            record.append(byte)
        } else {
            record.fault = "has a cell of more than \(Self.cellLimit) bytes"
        }
    }

    private mutating func endCell() {
        guard record.count < Self.recordLimit else {
            record.fault = "has more than \(Self.recordLimit) cells"
            return
        }
        record.endCell()
    }

    private mutating func take() -> CSVRecord {
        endCell()
        line += 1
        state = .cellStart
        defer { record = CSVRecord(line: line) }
        return record
    }

    private func unclosed() -> TargetGroupsError {
        TargetGroupsError(
            .badInput, "line \(record.line): a quote is opened and not closed; close it, or double it to mean a quote")
    }
}

extension UInt8 {
    static let lineFeed = UInt8(ascii: "\n")
    static let carriageReturn = UInt8(ascii: "\r")
    static let quote = UInt8(ascii: "\"")
    static let comma = UInt8(ascii: ",")
    static let semicolon = UInt8(ascii: ";")
    static let tab = UInt8(ascii: "\t")
}
