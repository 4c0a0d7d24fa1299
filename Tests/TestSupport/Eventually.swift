public import Testing

/// Waits until the condition holds, looking again and again; fails the test when it does not within the time.
public func eventually(
    _ what: String = "the condition", within time: Duration = .seconds(10),
    at location: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + time
    while try await !condition() {
        guard ContinuousClock.now < deadline else {
            Issue.record("\(what) did not come true within \(time)", sourceLocation: location)
            throw EventuallyFailed()
        }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// Ends a test whose condition did not come true.
public struct EventuallyFailed: Error {}
