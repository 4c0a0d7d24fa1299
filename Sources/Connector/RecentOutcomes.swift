/// What became of an instance's last actions, for the brake on rejections.
///
/// The last ones alone: whatever went well before would otherwise have to be outweighed first.
struct RecentOutcomes: Sendable {
    /// How many are looked back on.
    static let span = 1000
    /// Of fewer nothing is concluded.
    static let fewest = 100

    /// Whether each was rejected; once there are enough the next one takes the place of the oldest.
    private var outcomes: [Bool] = []
    private var oldest = 0
    private var rejected = 0

    /// Adds outcomes, all alike.
    mutating func add(_ count: Int = 1, rejected isRejected: Bool) {
        for _ in 0..<min(count, Self.span) {
            if outcomes.count < Self.span {
                outcomes.append(isRejected)
            } else {
                if outcomes[oldest] { rejected -= 1 }
                outcomes[oldest] = isRejected
                oldest = (oldest + 1) % Self.span
            }
            if isRejected { rejected += 1 }
        }
    }

    /// Why there were too many rejections, which is when more than 2 % were; else nil.
    ///
    /// So many are no accident of single persons.
    var excess: String? {
        guard outcomes.count >= Self.fewest, rejected * 50 > outcomes.count else { return nil }
        return "\(rejected) of the last \(outcomes.count) actions were rejected"
    }
}
