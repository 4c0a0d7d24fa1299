import CCurl

/// How every transfer of one client is made.
struct TransferOptions: Sendable {
    let allowPlaintext: Bool
    let certificateAuthorities: String?
    let userAgent: String
}

/// One libcurl handle, used for one transfer after another by the loop's thread.
final class EasyHandle {
    let pointer: UnsafeMutableRawPointer
    private let errorText: UnsafeMutablePointer<CChar>
    private var headers: UnsafeMutablePointer<curl_slist>?

    init?() {
        guard let pointer = curl_easy_init() else { return nil }
        self.pointer = pointer
        errorText = .allocate(capacity: ccurl_error_size)
        errorText.initialize(repeating: 0, count: ccurl_error_size)
    }

    deinit {
        // First the handle, which still points at the other two.
        curl_easy_cleanup(pointer)
        curl_slist_free_all(headers)
        errorText.deallocate()
    }

    /// Sets the handle up for a transfer, and lets it keep the transfer alive until ``release()``.
    func prepare(_ transfer: Transfer, _ options: TransferOptions) throws(HTTPError) {
        let request = transfer.request
        let context = Unmanaged.passRetained(transfer).toOpaque()
        var setup = Setup(handle: pointer)
        setup.pointer(CURLOPT_PRIVATE, context)
        setup.pointer(CURLOPT_ERRORBUFFER, errorText)
        setup.connection(options, transfer.origin)
        setup.string(CURLOPT_URL, request.url)
        setup.string(CURLOPT_USERAGENT, options.userAgent)
        setup.long(CURLOPT_TIMEOUT_MS, request.timeout.milliseconds)
        setup.long(CURLOPT_CONNECTTIMEOUT_MS, request.connectTimeout.milliseconds)
        setup.method(request)
        setup.check(ccurl_on_body(pointer, receiveBody, context))
        setup.check(ccurl_on_header(pointer, receiveHeader, context))
        setup.check(ccurl_on_request(pointer, beforeRequest, context))
        headers = headerList(request)
        setup.check(ccurl_set_headers(pointer, headers))
        guard setup.failure == CURLE_OK else {
            let reason = String(cString: curl_easy_strerror(setup.failure))
            release()
            throw HTTPError(.other, "libcurl does not accept an option: \(reason)")
        }
    }

    /// Forgets the transfer, whose connection stays with the multi handle.
    ///
    /// The multi handle must have let go of this one before.
    func release() {
        var context: UnsafeMutableRawPointer?
        if ccurl_get_pointer(pointer, CURLINFO_PRIVATE, &context) == CURLE_OK, let context {
            Unmanaged<Transfer>.fromOpaque(context).release()
        }
        curl_easy_reset(pointer)
        curl_slist_free_all(headers)
        headers = nil
        errorText[0] = 0
    }

    /// What libcurl has to say about the last failure, if anything.
    var message: String? {
        errorText[0] == 0 ? nil : String(cString: errorText)
    }

    func long(_ info: CURLINFO) -> Int {
        var value = 0
        return ccurl_get_long(pointer, info, &value) == CURLE_OK ? value : 0
    }

    private func headerList(_ request: HTTPRequest) -> UnsafeMutablePointer<curl_slist>? {
        let given = Set(request.headers.map { $0.name.lowercased() })
        // A name with nothing behind the colon takes away what libcurl would send by itself: a type that nobody chose,
        // and a question that costs a round trip before every large body.
        let unwanted = ["Content-Type", "Expect"].filter { !given.contains($0.lowercased()) }.map { "\($0):" }
        // An empty value has to be written with a semicolon, because of the rule just used.
        let wanted = request.headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
        var list: UnsafeMutablePointer<curl_slist>?
        for line in unwanted + wanted {
            list = curl_slist_append(list, line) ?? list
        }
        return list
    }
}

/// Sets options and remembers the first that was refused.
private struct Setup {
    let handle: UnsafeMutableRawPointer
    var failure = CURLE_OK

    mutating func check(_ code: CURLcode) {
        if failure == CURLE_OK { failure = code }
    }

    mutating func long(_ option: CURLoption, _ value: Int) { check(ccurl_set_long(handle, option, value)) }
    mutating func string(_ option: CURLoption, _ value: String) { check(ccurl_set_string(handle, option, value)) }
    mutating func pointer(_ option: CURLoption, _ value: UnsafeMutableRawPointer) {
        check(ccurl_set_pointer(handle, option, value))
    }

    mutating func connection(_ options: TransferOptions, _ origin: Origin) {
        long(CURLOPT_NOSIGNAL, 1)
        // Else taking away a transfer that still resolves its host waits for the resolver, and all others with it.
        long(CURLOPT_QUICK_EXIT, 1)
        string(CURLOPT_PROTOCOLS_STR, options.allowPlaintext ? "http,https" : "https")
        long(CURLOPT_FOLLOWLOCATION, 0)
        // The path is sent as it was given; "tidying" it could make it another one.
        long(CURLOPT_PATH_AS_IS, 1)
        long(CURLOPT_HTTP_VERSION, ccurl_http_1_1)
        long(CURLOPT_SSLVERSION, ccurl_tls_1_2_or_newer)
        long(CURLOPT_SSL_VERIFYPEER, 1)
        long(CURLOPT_SSL_VERIFYHOST, 2)
        if let file = options.certificateAuthorities { string(CURLOPT_CAINFO, file) }
        long(CURLOPT_TCP_NODELAY, 1)
        long(CURLOPT_TCP_KEEPALIVE, 1)
        // Every encoding this libcurl can undo, gzip among them.
        string(CURLOPT_ACCEPT_ENCODING, "")
        long(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        if origin.isPlaintext { string(CURLOPT_PROXY, "") }
    }

    mutating func method(_ request: HTTPRequest) {
        if let body = request.body {
            long(CURLOPT_POST, 1)
            check(
                body.withUnsafeBytes {
                    ccurl_set_body(handle, $0.baseAddress ?? UnsafeRawPointer(emptyBody), curl_off_t($0.count))
                })
        } else if request.method == "HEAD" {
            long(CURLOPT_NOBODY, 1)
        } else if request.method == "POST" || request.method == "PUT" || request.method == "PATCH" {
            // A server may insist on a length with these methods, so an absent body is announced as an empty one.
            long(CURLOPT_POST, 1)
            check(ccurl_set_body(handle, emptyBody, 0))
        }
        string(CURLOPT_CUSTOMREQUEST, request.method)
    }
}

/// An address for a body of no bytes: a null pointer would make libcurl ask for the body by callback.
///
/// `nonisolated(unsafe)`: never written, and never read beyond its zero bytes.
nonisolated(unsafe) private let emptyBody = UnsafeMutablePointer<CChar>.allocate(capacity: 1)

private let receiveBody: ccurl_data_callback = { bytes, size, count, context in
    guard let context else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    let piece = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return transfer.receive(body: piece) ? piece.count : 0
}

private let receiveHeader: ccurl_data_callback = { bytes, size, count, context in
    guard let context else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return transfer.receive(header: line) ? line.count : 0
}

private let beforeRequest: ccurl_request_callback = { context, _, _, _, _ in
    guard let context else { return CURL_PREREQFUNC_ABORT }
    let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    return transfer.maySend() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}

extension Duration {
    /// Whole milliseconds, at least one, because zero means "no limit" to libcurl.
    fileprivate var milliseconds: Int {
        let (seconds, attoseconds) = components
        let bounded = min(max(seconds, 0), 1_000_000)
        return max(1, Int(bounded) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
    }
}
