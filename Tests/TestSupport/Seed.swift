import FoundationEssentials

/// Random numbers that a failed test can be run with again.
///
/// The seed is printed; `KOPPELING_SEED` in the environment repeats a run.
public struct Seed: RandomNumberGenerator, Sendable {
    /// Where the numbers began.
    public let seed: UInt64
    private var state: UInt64

    /// Starts from the seed of the environment, or from chance, and prints it.
    public init(_ name: String = #function) {
        let given = ProcessInfo.processInfo.environment["KOPPELING_SEED"].flatMap { UInt64($0) }
        self.init(seed: given ?? UInt64.random(in: 0...UInt64.max))
        print("\(name): KOPPELING_SEED=\(seed)")
    }

    /// Starts from this seed.
    public init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// The next number: SplitMix64, which is short and good enough.
    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
