/// The figures of a list as they were at some moment.
struct ListStatistics: Sendable, Equatable {
    /// The real figures are kept for at least so many seconds.
    static let lifetime = 300

    var at: Int
    var subscribed = 0
    var unsubscribed = 0
    var cleaned = 0
    var total = 0
    var lastSubscribed: Int?
    var lastUnsubscribed: Int?

    init(at now: Int) { at = now }

    init(_ audience: Audience, at now: Int) {
        at = now
        subscribed = audience.count[.subscribed] ?? 0
        unsubscribed = audience.count[.unsubscribed] ?? 0
        cleaned = audience.count[.cleaned] ?? 0
        total = audience.count.values.reduce(0, +)
        lastSubscribed = audience.lastSubscribed
        lastUnsubscribed = audience.lastUnsubscribed
    }
}

extension World {
    /// The figures of a list as the API tells them: those that it found when they were last asked for, until they are
    /// old enough; then it answers the old ones once more and looks anew.
    func statistics(_ audience: Audience) -> ListStatistics {
        let fresh = ListStatistics(audience, at: now())
        guard switches.statisticsAreLate else { return fresh }
        let known = audience.statistics
        if fresh.at - known.at >= ListStatistics.lifetime { audience.statistics = fresh }
        return known
    }
}
