import Crypto
public import FoundationEssentials

/// What Mailchimp signs the reports of one webhook with; it shows it once, to whoever makes the webhook.
///
/// The header field `X-Mailchimp-Signature` is `t=1767225600,v1=` and 64 hexadecimal digits: the HMAC-SHA256 of the moment
/// as written, a full stop, and the body as it came. Several `v1` may stand there, as while a secret is being changed.
public struct SigningSecret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// What a signature is worth.
    public enum Verdict: String, Sendable, Hashable {
        /// Whoever holds the secret sent this body, at about this time.
        case valid
        /// There is no signature.
        case missing
        /// What stands there is no signature.
        case malformed
        /// It is another body's, or made with another secret.
        case wrong
        /// It is right, and older or newer than ``SigningSecret/window``: a repetition, or a clock that is off.
        case stale
    }

    /// How many seconds a signature's moment and the clock here may differ.
    public static let window = 300.0

    /// No signature of Mailchimp's is nearly as long.
    private static let longestHeader = 1024

    /// The secret itself, to be sealed and stored.
    public let text: String

    /// Takes a secret; nil when it is empty, which would let everybody sign.
    public init?(_ text: String) {
        guard !text.isEmpty else { return nil }
        self.text = text
    }

    /// Judges the signature of a body.
    ///
    /// How long that takes says nothing of the secret or of the right signature.
    ///
    /// - Parameters:
    ///   - header: The value of the header field as it came.
    ///   - body: The body as it came, before anything is decoded.
    ///   - now: The time here.
    /// - Returns: What the signature is worth; only `valid` is a reason to believe the body.
    public func verdict(on header: String?, of body: some Collection<UInt8>, at now: Date) -> Verdict {
        guard let header, !header.isEmpty else { return .missing }
        guard header.utf8.count <= Self.longestHeader, let signature = Signature(header) else { return .malformed }
        var hash = HMAC<SHA256>(key: SymmetricKey(data: Array(text.utf8)))
        hash.update(data: Array(signature.moment.utf8) + [UInt8(ascii: ".")])
        hash.update(data: Array(body))
        let right = hash.finalize()
        // All are compared, and each in constant time.
        let matches = signature.codes.map { right == $0 }
        guard matches.contains(true) else { return .wrong }
        return abs(now.timeIntervalSince1970 - signature.seconds) <= Self.window ? .valid : .stale
    }

    /// The kind, and nothing of the secret.
    public var description: String { "signing secret" }

    /// The kind, and nothing of the secret.
    public var debugDescription: String { description }
}

extension SigningSecret: CustomReflectable {
    /// Hides the secret from whoever prints it by reflection.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// The parts of a signature; names that are not known are passed over, as the versions to come.
private struct Signature {
    /// The moment as it was written, because so it was signed.
    var moment: Substring
    var seconds: Double
    var codes: [[UInt8]] = []

    init?(_ header: String) {
        var moments: [Substring] = []
        for part in header.split(separator: ",") {
            let part = part.drop { $0 == " " || $0 == "\t" }
            if part.hasPrefix("t=") {
                moments.append(part.dropFirst(2))
            } else if part.hasPrefix("v1="), let code = Self.bytes(part.dropFirst(3)) {
                codes.append(code)
            }
        }
        guard moments.count == 1, let moment = moments.first, !codes.isEmpty else { return nil }
        guard (1...12).contains(moment.utf8.count),
            moment.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let seconds = Double(moment)
        else { return nil }
        self.moment = moment
        self.seconds = seconds
    }

    /// The 32 bytes that the digits stand for; blanks behind them do no harm.
    private static func bytes(_ digits: Substring) -> [UInt8]? {
        let nibbles = digits.utf8.map(\.hexDigitValue)
        let count = nibbles.firstIndex(of: nil) ?? nibbles.count
        guard count == 64, digits.utf8.dropFirst(count).allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { return nil }
        let values = nibbles.prefix(count).compactMap { $0 }
        return stride(from: 0, to: count, by: 2).map { values[$0] << 4 | values[$0 + 1] }
    }
}
