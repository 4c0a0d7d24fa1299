/// HTTP/1.1 by libcurl, without blocking the caller's thread.
///
/// One thread per client does all transfers with `curl_multi_poll`. Certificates are always verified, TLS is 1.2 or newer,
/// redirects are not followed and no cookie is kept. `https://` goes through a proxy when the environment names one
/// (`HTTPS_PROXY`, `NO_PROXY`), `http://` never does.
///
/// For example:
///
///     let client = HTTPClient()
///     defer { client.shutdown() }
///     let response = try await client.send(HTTPRequest(url: "https://example.org/"))
///
/// A request with side effects is sent at most once: where libcurl would quietly repeat it because a kept connection died,
/// the call fails with ``HTTPError/Code/reset`` instead, and says that the request may have been processed.
public final class HTTPClient: Sendable {
    private let loop: TransferLoop
    private let allowPlaintext: Bool

    /// Starts a client.
    ///
    /// - Parameters:
    ///   - connectionsPerHost: How many calls to one host and port may be under way; further ones wait their turn.
    ///   - allowPlaintext: Whether `http://` may be called: for a stand-in on this machine, never for the real service.
    ///   - certificateAuthorities: A PEM file that replaces the machine's list of trusted authorities.
    ///   - userAgent: What to introduce itself as; a `User-Agent` header of a request comes before it.
    public init(
        connectionsPerHost: Int = 10,
        allowPlaintext: Bool = false,
        certificateAuthorities: String? = nil,
        userAgent: UserAgent = UserAgent()
    ) {
        self.allowPlaintext = allowPlaintext
        loop = TransferLoop(
            connectionsPerHost: max(1, connectionsPerHost),
            options: TransferOptions(
                allowPlaintext: allowPlaintext, certificateAuthorities: certificateAuthorities,
                userAgent: userAgent.description))
        loop.start()
    }

    deinit {
        loop.stop()
    }

    /// Sends a request and reads the whole response.
    ///
    /// Cancelling the task aborts the transfer, and the call ends with ``HTTPError/Code/cancelled``.
    public func send(_ request: HTTPRequest) async throws(HTTPError) -> HTTPResponse {
        try request.validate()
        let origin = try Origin(url: request.url, allowPlaintext: allowPlaintext)
        let transfer = Transfer(request, to: origin)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { loop.post(.begin(transfer, $0)) }
        } onCancel: {
            loop.post(.cancel(transfer))
        }
        return try result.get()
    }

    /// Ends the thread and fails what is under way with ``HTTPError/Code/shutDown``.
    public func shutdown() {
        loop.stop()
    }
}
