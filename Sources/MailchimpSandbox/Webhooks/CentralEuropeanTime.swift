/// The time zone of the sandbox's accounts: an hour before UTC, two in summer.
enum CentralEuropeanTime {
    /// What a clock on the wall shows, as seconds of UTC.
    static func local(_ seconds: Int) -> Int { seconds + (isSummer(seconds) ? 7200 : 3600) }

    /// From the last Sunday of March to that of October, both at one o'clock UTC.
    private static func isSummer(_ seconds: Int) -> Bool {
        let year = Timestamp.plain(seconds).prefix(4)
        guard let start = lastSunday("\(year)-03-31"), let end = lastSunday("\(year)-10-31") else { return false }
        return (start + 3600..<end + 3600).contains(seconds)
    }

    /// The midnight that begins the last Sunday of a month, given its last day.
    private static func lastSunday(_ lastDay: String) -> Int? {
        guard let midnight = Timestamp.milliseconds(lastDay).map({ $0 / 1000 }) else { return nil }
        // The first day of 1970 was a Thursday.
        let weekday = (midnight / 86_400 + 4) % 7
        return midnight - weekday * 86_400
    }
}
