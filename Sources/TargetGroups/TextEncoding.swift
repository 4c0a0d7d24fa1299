import IO

/// How the characters of a file are written: in UTF-8, or as Windows wrote them in the Netherlands before.
enum TextEncoding: Sendable, Hashable {
    case utf8
    case windows1252

    /// Reads the file once: it is in Windows-1252 when most of what is not ASCII makes no sense as UTF-8.
    static func detect(path: String) async throws -> TextEncoding {
        let file = try await FileReader.open(path)
        // A pipe cannot be read twice.
        guard file.size > 0 else { return .utf8 }
        var evidence = Evidence()
        var isFirst = true
        while true {
            let piece = try await file.next()
            if piece.isEmpty { break }
            if isFirst && piece.starts(with: byteOrderMark) { return .utf8 }
            if isFirst && (piece.starts(with: [0xFF, 0xFE]) || piece.starts(with: [0xFE, 0xFF])) {
                throw TargetGroupsError(
                    .badInput, "\(path) is in UTF-16 (\"Unicode text\"): save it as UTF-8, in Excel as \"CSV UTF-8\"")
            }
            isFirst = false
            evidence.take(piece)
        }
        return evidence.bad > evidence.good ? .windows1252 : .utf8
    }

    /// What a file in UTF-8 may begin with.
    static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// The piece in UTF-8.
    func decoded(_ piece: [UInt8]) -> [UInt8] {
        guard self == .windows1252, piece.contains(where: { $0 >= 0x80 }) else { return piece }
        var text: [UInt8] = []
        text.reserveCapacity(piece.count + piece.count / 8)
        for byte in piece {
            if byte < 0x80 {
                text.append(byte)
            } else {
                text += Self.characters[Int(byte) - 0x80]
            }
        }
        return text
    }

    /// The characters 0x80 to 0xFF in UTF-8; the five that are not defined are control characters.
    private static let characters: [[UInt8]] = {
        let special: [UInt32] = [
            0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,
            0x017D, 0x8F, 0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A,
            0x0153, 0x9D, 0x017E, 0x0178,
        ]
        return (special + Array(0xA0...0xFF)).map { code in
            Unicode.Scalar(code).map { scalar in Array(String(Character(scalar)).utf8) } ?? []
        }
    }()

    /// How many sequences of bytes beyond ASCII are UTF-8, and how many are not.
    private struct Evidence {
        var good = 0
        var bad = 0
        private var missing = 0

        mutating func take(_ piece: [UInt8]) {
            for byte in piece where byte >= 0x80 || missing > 0 {
                switch byte {
                case 0x80...0xBF where missing > 0:
                    missing -= 1
                    if missing == 0 { good += 1 }
                    continue
                case 0xC2...0xDF: begin(1)
                case 0xE0...0xEF: begin(2)
                case 0xF0...0xF4: begin(3)
                default:
                    if missing > 0 || byte >= 0x80 { bad += 1 }
                    missing = 0
                }
            }
        }

        private mutating func begin(_ count: Int) {
            if missing > 0 { bad += 1 }
            missing = count
        }
    }
}
