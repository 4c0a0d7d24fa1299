/// The seconds that something takes.
func seconds(_ body: () async throws -> Void) async throws -> Double {
    let began = ContinuousClock.now
    try await body()
    let (seconds, attoseconds) = (ContinuousClock.now - began).components
    return Double(seconds) + Double(attoseconds) / 1e18
}

/// The median of five, after one that warms up.
func median(_ body: () async throws -> Void) async throws -> Double {
    try await body()
    var times: [Double] = []
    for _ in 0..<5 { times.append(try await seconds(body)) }
    return times.sorted()[2]
}
