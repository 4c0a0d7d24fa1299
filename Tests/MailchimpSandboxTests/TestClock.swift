import NIOConcurrencyHelpers

/// A clock that a test moves by hand.
final class TestClock: Sendable {
    private let seconds = NIOLockedValueBox(1_700_000_000)

    func advance(_ count: Int) { seconds.withLockedValue { $0 += count } }

    var read: @Sendable () -> Int { { self.seconds.withLockedValue { $0 } } }
}
