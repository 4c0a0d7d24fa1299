/// One request, complete before it is sent.
public struct HTTPRequest: Sendable {
    /// The method, in capitals.
    public var method: String

    /// An absolute `https://` address without credentials, with every special character already percent-encoded.
    public var url: String

    /// The header fields, sent in this order.
    public var headers: [(name: String, value: String)]

    /// The body, or nil for none.
    public var body: [UInt8]?

    /// How long the call may take from its first packet to its last; waiting for a free connection is not counted.
    public var timeout: Duration

    /// How long making the connection may take, the TLS handshake included.
    public var connectTimeout: Duration

    /// The largest response body accepted, in bytes after decompression.
    public var maximumBody: Int

    /// Makes a request; the time-outs are those that suit an API which itself gives up after two minutes.
    public init(
        method: String = "GET",
        url: String,
        headers: [(name: String, value: String)] = [],
        body: [UInt8]? = nil,
        timeout: Duration = .seconds(130),
        connectTimeout: Duration = .seconds(10),
        maximumBody: Int = 16 << 20
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.connectTimeout = connectTimeout
        self.maximumBody = maximumBody
    }
}

extension HTTPRequest: CustomStringConvertible, CustomReflectable {
    /// The method and where the request goes, and nothing of its path, its header fields or its body.
    public var description: String {
        let origin = try? Origin(url: url, allowPlaintext: true)
        return "\(method) \(origin.map { "\($0)" } ?? "(no usable address)")"
    }

    /// Hides the credentials from whoever prints the request by reflection.
    public var customMirror: Mirror { Mirror(self, children: ["request": description]) }
}

extension HTTPRequest {
    /// Whether repeating the request can do no harm, by the meaning of its method.
    var isSafe: Bool { method == "GET" || method == "HEAD" }

    /// Refuses what would let a value become another header field or another request line.
    func validate() throws(HTTPError) {
        let tokens = [method] + headers.map(\.name)
        guard tokens.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(\.isTokenCharacter) }) else {
            throw HTTPError(
                .badRequest, "The method or a header name holds a character that HTTP does not allow there.")
        }
        guard headers.allSatisfy({ $0.value.utf8.allSatisfy { $0 == 0x09 || $0 >= 0x20 && $0 != 0x7f } }) else {
            throw HTTPError(.badRequest, "A header value holds a control character.")
        }
    }
}

extension UInt8 {
    /// RFC 9110, 5.6.2.
    fileprivate var isTokenCharacter: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(self)
        }
    }
}
