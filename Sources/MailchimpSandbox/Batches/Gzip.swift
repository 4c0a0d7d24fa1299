/// The form of gzip without its compression, which a reader cannot tell from the real one.
enum Gzip {
    static func stored(_ bytes: [UInt8]) -> [UInt8] {
        // Deflate, no flags, no time, from Unix.
        var packed: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]
        packed.reserveCapacity(bytes.count + bytes.count / 1000 + 64)
        let most = 65_535
        for start in stride(from: 0, to: max(1, bytes.count), by: most) {
            let part = bytes[start..<min(start + most, bytes.count)]
            packed.append(start + most >= bytes.count ? 1 : 0)
            packed += little(UInt32(part.count), 2) + little(~UInt32(part.count), 2)
            packed += part
        }
        return packed + little(checksum(bytes), 4) + little(UInt32(truncatingIfNeeded: bytes.count), 4)
    }

    private static func little(_ value: UInt32, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt32($0))) }
    }

    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
    }

    /// The cyclic redundancy check of Ethernet and PKZIP.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { table[Int(($0 ^ UInt32($1)) & 0xFF)] ^ $0 >> 8 }
    }
}
