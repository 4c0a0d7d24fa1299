import Crypto
import FoundationEssentials

/// A 128-bit identifier that is written as 32 hexadecimal digits: the hash of an address, or a contact's id.
///
/// Kept as two words, since an index over a million contacts of strings would be several times as large.
struct HexID: Hashable, Sendable {
    let high: UInt64
    let low: UInt64

    /// The MD5 of a lower-cased address, the API's name for a subscriber.
    init(address: String) {
        self.init(digest: Array(address.lowercased().utf8))
    }

    /// The MD5 of bytes.
    init(digest bytes: [UInt8]) {
        var high: UInt64 = 0
        var low: UInt64 = 0
        for (index, byte) in Insecure.MD5.hash(data: bytes).enumerated() {
            if index < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt64(byte) }
        }
        self.high = high
        self.low = low
    }

    init(random generator: inout some RandomNumberGenerator) {
        high = generator.next()
        low = generator.next()
    }

    init?(hex text: some StringProtocol) {
        guard text.utf8.count == 32 else { return nil }
        let half = text.index(text.startIndex, offsetBy: 16)
        guard let high = UInt64(text[..<half], radix: 16), let low = UInt64(text[half...], radix: 16) else {
            return nil
        }
        self.high = high
        self.low = low
    }

    var hex: String { Self.digits(high, 16) + Self.digits(low, 16) }

    /// The last `count` hexadecimal digits of a number, with leading zeros.
    static func digits(_ value: UInt64, _ count: Int) -> String {
        var bytes = [UInt8](repeating: UInt8(ascii: "0"), count: count)
        var rest = value
        for index in stride(from: count - 1, through: 0, by: -1) {
            let digit = UInt8(rest & 0xF)
            bytes[index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
            rest >>= 4
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// A small, fast generator whose runs can be repeated from their seed.
struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to 1.
    mutating func share() -> Double { Double(next() >> 11) / Double(1 << 53) }
}
