import FoundationEssentials

/// Mailchimp's points in time: `2021-11-23T22:51:56+00:00`.
enum Timestamp {
    /// Longer than any point in time is written, nanoseconds included.
    static let longest = 40

    /// Reads ISO 8601 with a `T` or a blank, with or without a fraction, `Z`, an offset or nothing (which is UTC).
    ///
    /// What it reads, PostgreSQL reads as well. Before 1583 two calendars are meant by the same words, and an offset could
    /// move the end of 9999 to a year of five digits: nothing of Mailchimp's is there.
    static func parse(_ text: String) -> Date? {
        guard text.utf8.count <= longest else { return nil }
        var rest = text.utf8[...]
        guard let year = rest.number(4), rest.take("-"), let month = rest.number(2), rest.take("-"),
            let day = rest.number(2), (1583...9998).contains(year), (1...12).contains(month),
            day >= 1, day <= daysInMonth(year, month)
        else { return nil }
        guard rest.take("T") || rest.take(" ") else {
            return rest.isEmpty ? Date(timeIntervalSince1970: Double(days(year, month, day) * 86400)) : nil
        }
        guard let hour = rest.number(2), rest.take(":"), let minute = rest.number(2), rest.take(":"),
            let second = rest.number(2), hour < 24, minute < 60, second < 61
        else { return nil }
        var fraction = 0.0
        if rest.take(".") {
            var scale = 0.1
            guard let first = rest.first, (0x30...0x39).contains(first) else { return nil }
            while let digit = rest.number(1) {
                fraction += Double(digit) * scale
                scale /= 10
            }
        }
        guard let offset = offset(&rest), rest.isEmpty else { return nil }
        let seconds = days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset
        // In UTC as well, by which it is written.
        guard days(1583, 1, 1) * 86400 <= seconds, seconds < days(9999, 1, 1) * 86400 else { return nil }
        return Date(timeIntervalSince1970: Double(seconds) + fraction)
    }

    /// Writes a filter's bound, cut down to the whole second that Mailchimp keeps.
    static func format(_ date: Date) -> String {
        let whole = Date(timeIntervalSince1970: date.timeIntervalSince1970.rounded(.down))
        return whole.formatted(.iso8601)
    }

    private static func offset(_ rest: inout Substring.UTF8View) -> Int? {
        if rest.isEmpty || rest.take("Z") { return 0 }
        let sign = rest.take("-") ? -1 : rest.take("+") ? 1 : 0
        guard sign != 0, let hours = rest.number(2) else { return nil }
        _ = rest.take(":")
        guard let minutes = rest.isEmpty ? 0 : rest.number(2) else { return nil }
        guard hours < 16, minutes < 60 else { return nil }
        return sign * (hours * 3600 + minutes * 60)
    }

    private static func daysInMonth(_ year: Int, _ month: Int) -> Int {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        return month == 2 ? (isLeap ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
    }

    /// Days since 1970-01-01 in the Gregorian calendar: years are counted from March, so that the leap day comes last.
    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let monthFromMarch = (month + 9) % 12
        let dayOfYear = (153 * monthFromMarch + 2) / 5 + day - 1
        return 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + dayOfYear - 719468
    }
}

extension Substring.UTF8View {
    /// Takes exactly so many digits.
    fileprivate mutating func number(_ digits: Int) -> Int? {
        let taken = prefix(digits)
        guard taken.count == digits, taken.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        self = dropFirst(digits)
        return taken.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    fileprivate mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard let first, first == UInt8(ascii: character) else { return false }
        self = dropFirst()
        return true
    }
}
