import IO
import TestSupport
import Testing

@Suite("Backoff") struct BackoffTests {
    @Test("doubles up to its cap") func doubles() {
        let backoff = Backoff(base: .seconds(1), cap: .seconds(10), jitter: .none)
        #expect((1...6).map(backoff.delay(attempt:)) == [1, 2, 4, 8, 10, 10].map(Duration.seconds))
        #expect(backoff.delay(attempt: .max) == .seconds(10))
        #expect(backoff.delay(attempt: 0) == .seconds(1))
        #expect(Backoff(base: .zero, jitter: .none).delay(attempt: .max) == .zero)
    }

    @Test("leaves to chance what its jitter says", arguments: [(Backoff.Jitter.equal, 0.5), (.full, 0)])
    func jitter(jitter: Backoff.Jitter, least: Double) {
        var seed = Seed()
        let backoff = Backoff(base: .seconds(1), cap: .seconds(8), jitter: jitter)
        let delays = (0..<1_000).map { _ in backoff.delay(attempt: 3, using: &seed) }
        #expect(delays.allSatisfy { $0 >= .seconds(4) * least && $0 <= .seconds(4) })
        #expect(Set(delays).count > 900)
    }
}
