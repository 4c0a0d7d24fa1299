import CLibPQ

/// Writes the data of a `copy … from stdin`, in pieces of any size.
public struct CopyWriter {
    /// Big enough that a piece costs little, small enough that memory does not matter.
    private static let pieceSize = 65_536

    private let connection: Connection
    private var buffer: [UInt8] = []

    init(_ connection: Connection) {
        self.connection = connection
        buffer.reserveCapacity(Self.pieceSize + 8192)
    }

    /// Writes bytes in the format that the statement names; rows need not end with the bytes.
    public mutating func write(_ bytes: some Sequence<UInt8>) async throws(PostgresError) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.pieceSize { try await send() }
    }

    /// Writes one row in the text format, which is the default of `copy`; nil is null.
    public mutating func write(row fields: [String?]) async throws(PostgresError) {
        for (index, field) in fields.enumerated() {
            if index > 0 { buffer.append(UInt8(ascii: "\t")) }
            guard let field else {
                buffer.append(contentsOf: "\\N".utf8)
                continue
            }
            for byte in field.utf8 { append(escaped: byte) }
        }
        buffer.append(UInt8(ascii: "\n"))
        if buffer.count >= Self.pieceSize { try await send() }
    }

    private mutating func append(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\t"): buffer.append(contentsOf: "\\t".utf8)
        case UInt8(ascii: "\n"): buffer.append(contentsOf: "\\n".utf8)
        case UInt8(ascii: "\r"): buffer.append(contentsOf: "\\r".utf8)
        case UInt8(ascii: "\\"): buffer.append(contentsOf: "\\\\".utf8)
        default: buffer.append(byte)
        }
    }

    /// Sends what is buffered and waits until the server has taken it: a fast writer must not fill our memory.
    mutating func send() async throws(PostgresError) {
        guard !Task.isCancelled else {
            throw PostgresError(.cancelled, "the task was cancelled in the middle of a COPY")
        }
        guard !buffer.isEmpty else { return }
        let piece = buffer
        buffer.removeAll(keepingCapacity: true)
        try await connection.putCopyData(piece)
    }
}
