import Crypto
import FoundationEssentials

/// Seals credentials with the deployment's key (AES-256-GCM), so that the database alone opens nothing.
///
/// While a key is being replaced there are others: what they sealed can be opened, and the new one alone seals. What is
/// sealed begins with the mark of its key, which tells nothing of the key.
public struct Vault: Sendable {
    /// By which key something was sealed.
    public enum Seal: Sendable {
        /// The one that seals now.
        case current
        /// One that still opens.
        case previous
        /// One that is not known here, or it was not sealed at all.
        case unknown
    }

    private struct Key: Sendable {
        let mark: [UInt8]
        let key: SymmetricKey
    }

    /// The first seals.
    private let keys: [Key]

    /// Takes the keys as the settings hold them.
    ///
    /// - Parameters:
    ///   - base64: 32 bytes in base64, `KOPPELING_SECRET_KEY`.
    ///   - previous: keys that still open, between commas: `KOPPELING_SECRET_KEY_PREVIOUS`.
    /// - Throws: ``ConnectorError`` when one of them is anything else.
    public init(base64: String, previous: String? = nil) throws(ConnectorError) {
        var keys = [try Self.key(base64, "KOPPELING_SECRET_KEY")]
        for text in previous?.split(separator: ",") ?? [] {
            let trimmed = String(text.filter { !$0.isWhitespace })
            if !trimmed.isEmpty { keys.append(try Self.key(trimmed, "KOPPELING_SECRET_KEY_PREVIOUS")) }
        }
        self.keys = keys
    }

    private static func key(_ base64: String, _ setting: String) throws(ConnectorError) -> Key {
        guard let bytes = Data(base64Encoded: base64), bytes.count == 32 else {
            throw ConnectorError(
                .badSetting, "\(setting) must be 32 bytes in base64: make a key with `openssl rand -base64 32`")
        }
        let key = SymmetricKey(data: bytes)
        let code = HMAC<SHA256>.authenticationCode(for: Array("koppeling key mark".utf8), using: key)
        // The first byte is the version of this form.
        return Key(mark: [1] + Array(code).prefix(8), key: key)
    }

    /// What everything begins with that is sealed now.
    var mark: [UInt8] { keys[0].mark }

    /// The marks of all keys in hexadecimal, the one that seals first.
    var marks: [String] { keys.map { Self.hexadecimal($0.mark) } }

    /// Seals a secret for one purpose; only the same purpose opens it.
    public func seal(_ secret: String, for purpose: String) throws -> [UInt8] {
        let box = try AES.GCM.seal(Array(secret.utf8), using: keys[0].key, authenticating: Array(purpose.utf8))
        // A nonce of the standard size always gives a combined form.
        return mark + (box.combined.map { Array($0) } ?? [])
    }

    /// By which key it was sealed.
    public func seal(of sealed: [UInt8]) -> Seal {
        switch keys.firstIndex(where: { sealed.starts(with: $0.mark) }) {
        case 0: .current
        case nil: .unknown
        default: .previous
        }
    }

    /// Opens what ``seal(_:for:)`` made.
    ///
    /// - Throws: ``ConnectorError`` when the key or the purpose is not the one it was sealed with.
    public func open(_ sealed: [UInt8], for purpose: String) throws(ConnectorError) -> String {
        if let key = keys.first(where: { sealed.starts(with: $0.mark) }),
            let box = try? AES.GCM.SealedBox(combined: sealed.dropFirst(key.mark.count)),
            let opened = try? AES.GCM.open(box, using: key.key, authenticating: Array(purpose.utf8))
        {
            return String(decoding: opened, as: UTF8.self)
        }
        throw ConnectorError(
            .wrongKey,
            "a stored secret was sealed with another key: set that key as KOPPELING_SECRET_KEY or among "
                + "KOPPELING_SECRET_KEY_PREVIOUS, or give the account a new credential with `koppeling account renew`")
    }

    /// A new unguessable secret, 32 random bytes in hexadecimal.
    static func makeSecret() -> String {
        let bytes = unsafe SymmetricKey(size: .bits256).withUnsafeBytes { unsafe Array($0) }
        return hexadecimal(bytes)
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef")
        return bytes.map { String([digits[Int($0 >> 4)], digits[Int($0 & 15)]]) }.joined()
    }

    /// The SHA-256 of a secret: what the database keeps to recognise it.
    public static func hash(_ secret: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(secret.utf8)))
    }

    /// Whether the secret is the one of this hash; how long that takes tells nothing of where they differ.
    static func matches(_ secret: String, _ hash: [UInt8]) -> Bool {
        SHA256.hash(data: Array(secret.utf8)) == hash
    }
}
