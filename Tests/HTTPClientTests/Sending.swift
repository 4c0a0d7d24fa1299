import HTTPClient
import Testing

/// Runs a test with a client that may call this machine in the clear, and shuts the client down afterwards.
func withClient(
    connectionsPerHost: Int = 10, allowPlaintext: Bool = true, certificateAuthorities: String? = nil,
    _ body: (HTTPClient) async throws -> Void
) async throws {
    let client = HTTPClient(
        connectionsPerHost: connectionsPerHost, allowPlaintext: allowPlaintext,
        certificateAuthorities: certificateAuthorities)
    defer { client.shutdown() }
    try await body(client)
}

extension HTTPClient {
    /// The error that a request ends with; a response fails the test.
    func failure(
        of request: HTTPRequest, at location: SourceLocation = #_sourceLocation
    ) async throws -> HTTPError {
        let error = await #expect(throws: HTTPError.self, sourceLocation: location) { try await self.send(request) }
        return try #require(error, sourceLocation: location)
    }
}
