import Crypto
import FoundationEssentials

/// What proves to the receiver of a webhook who sent it.
enum Signature {
    static let name = "X-Mailchimp-Signature"

    /// `t=<seconds>,v1=<hex>`: the HMAC of the time and the body as they are sent.
    static func header(of body: String, secret: String, at seconds: Int) -> String {
        let key = SymmetricKey(data: Data(secret.utf8))
        let code = HMAC<SHA256>.authenticationCode(for: Data("\(seconds).\(body)".utf8), using: key)
        return "t=\(seconds),v1=" + code.map { HexID.digits(UInt64($0), 2) }.joined()
    }
}
