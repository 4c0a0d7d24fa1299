/// Why no response came.
///
/// A response with an error status is not an error here: whoever asked decides what it means.
public struct HTTPError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What went wrong, to switch on.
    public enum Code: String, Sendable, Hashable {
        /// The address is not one that this client calls.
        case badURL
        /// The method, a header or a limit of the request is not usable.
        case badRequest
        /// No connection: the name does not resolve, or nobody answers there.
        case connect
        /// No trustworthy TLS connection, or a broken one.
        case tls
        /// The time ran out.
        case timeout
        /// The connection broke before the response was complete.
        case reset
        /// The response is larger than the caller accepts.
        case tooLarge
        /// What came back is not HTTP, or not in the encoding that it claims.
        case malformed
        /// The task was cancelled.
        case cancelled
        /// The client was shut down.
        case shutDown
        /// Anything else that libcurl reports.
        case other
    }

    /// What went wrong.
    public var code: Code

    /// A sentence for the log; it never holds the address called beyond its host.
    public var message: String

    /// False only when not one byte of the request left this machine.
    public var requestMayHaveBeenProcessed: Bool

    /// Makes an error.
    public init(_ code: Code, _ message: String, requestMayHaveBeenProcessed: Bool = false) {
        self.code = code
        self.message = message
        self.requestMayHaveBeenProcessed = requestMayHaveBeenProcessed
    }

    /// Whether the same request may succeed later without anybody changing anything.
    public var isTransient: Bool {
        switch code {
        case .connect, .timeout, .reset, .malformed: true
        case .badURL, .badRequest, .tls, .tooLarge, .cancelled, .shutDown, .other: false
        }
    }

    /// The code, the message, and what is known about the request.
    public var description: String {
        let fate = requestMayHaveBeenProcessed ? "the request may have been processed" : "the request was not sent"
        return "\(code.rawValue): \(message) (\(fate))"
    }
}
