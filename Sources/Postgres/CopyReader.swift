import CLibPQ
import IO

/// Reads the data of a `copy … to stdout` in pieces of whole rows.
struct CopyReader {
    private static let pieceSize = 65_536

    private let connection: Connection
    /// libpq tells of the end once, and answers an error after that.
    private var isAtEnd = false

    init(_ connection: Connection) {
        self.connection = connection
    }

    /// Rows until there is nothing more at hand or the piece is big enough; nil after the last.
    mutating func next() async throws(PostgresError) -> [UInt8]? {
        var piece: [UInt8] = []
        while !isAtEnd, piece.count < Self.pieceSize {
            var row: UnsafeMutablePointer<CChar>?
            let length = PQgetCopyData(connection.handle, &row, 1)
            switch length {
            case 1...:
                piece.append(contentsOf: UnsafeRawBufferPointer(start: row, count: Int(length)))
                PQfreemem(row)
            case 0 where !piece.isEmpty: return piece
            case 0:
                _ = try await connection.ready(for: .read)
                guard PQconsumeInput(connection.handle) == 1 else { throw connection.lost() }
            case -1: isAtEnd = true
            default: throw connection.refusal()
            }
        }
        return piece.isEmpty ? nil : piece
    }
}
