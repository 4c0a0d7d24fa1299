/// One response, read to its end.
public struct HTTPResponse: Sendable {
    /// The status code.
    public var status: Int

    /// The header fields in the order received.
    public var headers: [(name: String, value: String)]

    /// The body, decompressed.
    public var body: [UInt8]

    /// Makes a response.
    public init(status: Int, headers: [(name: String, value: String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first value of a header field; the case of the name does not matter.
    public func header(_ name: String) -> String? {
        let wanted = name.lowercased()
        return headers.first { $0.name.lowercased() == wanted }?.value
    }
}
