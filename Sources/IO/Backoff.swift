/// How long to wait before trying again: twice as long each time, up to a cap, with jitter.
public struct Backoff: Sendable, Hashable {
    /// How much of a delay is left to chance, so that many that failed together do not return together.
    public enum Jitter: Sendable, Hashable {
        /// Exactly the computed delay.
        case none
        /// Between half of the computed delay and all of it.
        case equal
        /// Between nothing and all of the computed delay.
        case full
    }

    /// The delay before the second attempt.
    public var base: Duration
    /// The longest delay.
    public var cap: Duration
    /// What is left to chance.
    public var jitter: Jitter

    /// Doubles from `base` up to `cap`.
    public init(base: Duration = .milliseconds(100), cap: Duration = .seconds(30), jitter: Jitter = .full) {
        self.base = base
        self.cap = cap
        self.jitter = jitter
    }

    /// The delay after the given number of failed attempts, counted from one.
    public func delay(attempt: Int) -> Duration {
        var generator = SystemRandomNumberGenerator()
        return delay(attempt: attempt, using: &generator)
    }

    /// The delay after the given number of failed attempts, with the chance drawn from the generator.
    public func delay(attempt: Int, using generator: inout some RandomNumberGenerator) -> Duration {
        var computed = min(base, cap)
        var doublings = attempt - 1
        // Ends at the cap, so that a huge attempt neither overflows nor takes long.
        while doublings > 0 && computed < cap && computed > .zero {
            computed = min(computed * 2, cap)
            doublings -= 1
        }
        return switch jitter {
        case .none: computed
        case .equal: computed * Double.random(in: 0.5...1, using: &generator)
        case .full: computed * Double.random(in: 0...1, using: &generator)
        }
    }
}
