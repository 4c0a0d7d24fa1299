import Crypto
import FoundationEssentials

/// Seals credentials with the deployment's key (AES-256-GCM), so that the database alone opens nothing.
public struct Vault: Sendable {
    private let key: SymmetricKey

    /// Takes the key as the setting holds it.
    ///
    /// - Parameter base64: 32 bytes in base64, `KOPPELING_SECRET_KEY`.
    /// - Throws: ``ConnectorError`` when it is anything else.
    public init(base64: String) throws(ConnectorError) {
        guard let bytes = Data(base64Encoded: base64), bytes.count == 32 else {
            throw ConnectorError(
                .badSetting,
                "KOPPELING_SECRET_KEY must be 32 bytes in base64: make one with `openssl rand -base64 32`")
        }
        key = SymmetricKey(data: bytes)
    }

    /// Seals a secret for one purpose; only the same purpose opens it.
    public func seal(_ secret: String, for purpose: String) throws -> [UInt8] {
        let box = try AES.GCM.seal(Array(secret.utf8), using: key, authenticating: Array(purpose.utf8))
        // A nonce of the standard size always gives a combined form.
        return box.combined.map { Array($0) } ?? []
    }

    /// Opens what ``seal(_:for:)`` made.
    ///
    /// - Throws: ``ConnectorError`` when the key or the purpose is not the one it was sealed with.
    public func open(_ sealed: [UInt8], for purpose: String) throws(ConnectorError) -> String {
        do {
            let opened = try AES.GCM.open(
                AES.GCM.SealedBox(combined: sealed), using: key, authenticating: Array(purpose.utf8))
            return String(decoding: opened, as: UTF8.self)
        } catch {
            throw ConnectorError(
                .wrongKey,
                "the stored credential was sealed with another KOPPELING_SECRET_KEY: set that key again, or connect the account anew"
            )
        }
    }

    /// A new unguessable secret, 32 random bytes in hexadecimal.
    static func makeSecret() -> String {
        let bytes = unsafe SymmetricKey(size: .bits256).withUnsafeBytes { unsafe Array($0) }
        return bytes.map { byte in
            let digits = Array("0123456789abcdef")
            return String([digits[Int(byte >> 4)], digits[Int(byte & 15)]])
        }.joined()
    }

    /// The SHA-256 of a secret: what the database keeps to recognise it.
    public static func hash(_ secret: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(secret.utf8)))
    }
}
