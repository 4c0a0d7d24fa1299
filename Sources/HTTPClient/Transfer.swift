import CCurl

/// One call on its way: what was asked, and what has come back so far.
///
/// `@unchecked Sendable`: made by the caller, handed over through the loop's inbox, and touched by the loop's thread only.
final class Transfer: @unchecked Sendable {
    typealias Outcome = Result<HTTPResponse, HTTPError>

    let request: HTTPRequest
    let origin: Origin

    /// Whom to answer; nil before the start and once answered.
    var continuation: CheckedContinuation<Outcome, Never>?

    /// The handle that carries it, while it is not waiting for its turn.
    var handle: EasyHandle?

    var isCancelled = false

    private var status = 0
    private var headers: [(name: String, value: String)] = []
    private var headerBytes = 0
    private var body: [UInt8] = []
    private var isTooLarge = false
    private var timesSent = 0

    /// More than any honest server sends, and little enough to hold.
    private static let maximumHeaderBytes = 256 << 10

    init(_ request: HTTPRequest, to origin: Origin) {
        self.request = request
        self.origin = origin
    }

    /// Takes a piece of the body; false aborts the transfer.
    func receive(body piece: UnsafeRawBufferPointer) -> Bool {
        guard piece.count <= request.maximumBody - body.count else {
            isTooLarge = true
            return false
        }
        body.append(contentsOf: piece)
        return true
    }

    /// Takes one header line, status lines included; false aborts the transfer.
    func receive(header line: UnsafeRawBufferPointer) -> Bool {
        headerBytes += line.count
        guard headerBytes <= Self.maximumHeaderBytes else {
            isTooLarge = true
            return false
        }
        let text = String(decoding: line, as: UTF8.self)
        if text.hasPrefix("HTTP/") {
            // An interim response (100, 103) has a head of its own, which the final one replaces.
            headers = []
        } else if let colon = text.firstIndex(of: ":") {
            let value = text[text.index(after: colon)...]
            headers.append((String(text[..<colon]), value.trimmingHTTPWhitespace()))
        }
        return true
    }

    /// Says whether the request may go out; libcurl asks again when it is about to repeat it on a new connection.
    func maySend() -> Bool {
        timesSent += 1
        return timesSent == 1 || request.isSafe
    }

    /// What the caller is told once libcurl is done with it.
    func outcome(_ code: CURLcode, _ handle: EasyHandle) -> Outcome {
        guard code != CURLE_OK else {
            status = handle.long(CURLINFO_RESPONSE_CODE)
            return .success(HTTPResponse(status: status, headers: headers, body: body))
        }
        let wasSent = timesSent > 1 || handle.long(CURLINFO_REQUEST_SIZE) > 0
        if isTooLarge {
            let limit = "The response of \(origin.host) is larger than \(request.maximumBody) bytes."
            return .failure(HTTPError(.tooLarge, limit, requestMayHaveBeenProcessed: wasSent))
        }
        // libcurl calls an answer that does not begin like HTTP an unsupported protocol.
        let kind = code == CURLE_UNSUPPORTED_PROTOCOL && wasSent ? .malformed : HTTPError.Code(code)
        let detail =
            kind == .reset && timesSent > 1
            ? "The connection broke after the request was sent."
            : handle.message ?? String(cString: curl_easy_strerror(code))
        return .failure(HTTPError(kind, "\(origin.host): \(detail)", requestMayHaveBeenProcessed: wasSent))
    }

    /// What the caller is told when the loop itself ends the call.
    func abandoned(_ code: HTTPError.Code, _ message: String) -> Outcome {
        let wasSent = handle.map { $0.long(CURLINFO_REQUEST_SIZE) > 0 } ?? false
        return .failure(HTTPError(code, "\(origin.host): \(message)", requestMayHaveBeenProcessed: wasSent))
    }
}

extension HTTPError.Code {
    /// Sorts libcurl's codes by what a caller can do about them.
    init(_ code: CURLcode) {
        switch code {
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL: self = .badURL
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_PROXY,
            CURLE_INTERFACE_FAILED, CURLE_NO_CONNECTION_AVAILABLE:
            self = .connect
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_SHUTDOWN_FAILED, CURLE_USE_SSL_FAILED,
            CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_ENGINE_INITFAILED:
            self = .tls
        case CURLE_OPERATION_TIMEDOUT: self = .timeout
        // The last two end a repetition that `Transfer.maySend` forbade.
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE, CURLE_ABORTED_BY_CALLBACK,
            CURLE_SEND_FAIL_REWIND:
            self = .reset
        // No body is refused for its size here: a write error is what a decompressor makes of nonsense.
        case CURLE_WEIRD_SERVER_REPLY, CURLE_BAD_CONTENT_ENCODING, CURLE_WRITE_ERROR, CURLE_HTTP2, CURLE_HTTP2_STREAM:
            self = .malformed
        case CURLE_BAD_FUNCTION_ARGUMENT, CURLE_UNKNOWN_OPTION: self = .badRequest
        default: self = .other
        }
    }
}

extension Substring {
    fileprivate func trimmingHTTPWhitespace() -> String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\r\n" || $0 == "\r" || $0 == "\n" }
        guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) }) else {
            return ""
        }
        return String(self[first...last])
    }
}
