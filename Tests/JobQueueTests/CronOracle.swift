import TestSupport

/// A cron expression made at random, with the numbers it stands for: nothing of it was taken apart.
struct CronOracle: Sendable {
    struct Field: Sendable {
        var text: String
        var numbers: Set<Int>
        var hasStar: Bool { text.hasPrefix("*") }
    }

    var minute: Field
    var hour: Field
    var day: Field
    var month: Field
    var weekday: Field

    var text: String { [minute, hour, day, month, weekday].map(\.text).joined(separator: " ") }

    var isElastic: Bool { minute.hasStar || hour.hasStar }

    /// Whether it fits a local time, in minutes since 1970 began there.
    func fits(_ local: Int) -> Bool {
        fits(minuteOfDay: local % 1440) && fits(day: local / 1440)
    }

    private func fits(minuteOfDay rest: Int) -> Bool {
        minute.numbers.contains(rest % 60) && hour.numbers.contains(rest / 60)
    }

    func fits(day days: Int) -> Bool {
        let date = Civil(days: days)
        let fitsMonth = day.numbers.contains(date.day)
        let fitsWeek = weekday.numbers.contains((days + 4) % 7)
        let isEither = !day.hasStar && !weekday.hasStar
        return month.numbers.contains(date.month) && (isEither ? fitsMonth || fitsWeek : fitsMonth && fitsWeek)
    }

    /// Whether it has a day at all.
    var comes: Bool {
        let longest = month.numbers.map { [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][$0 - 1] }.max() ?? 0
        return !day.hasStar && !weekday.hasStar || (day.numbers.min() ?? 32) <= longest
    }

    /// The index of its first tick behind another in what the clocks show minute by minute; nil when it is not among them.
    func tick(after index: Int, in shown: [Int]) -> Int? {
        var latest = shown[0]
        for (next, local) in shown.enumerated().dropFirst() {
            let skipped = local > shown[next - 1] + 1 ? Array(shown[next - 1] + 1..<local) : []
            let isNew = local > latest
            latest = max(latest, local)
            guard next > index else { continue }
            if isElastic ? fits(local) : isNew && fits(local) || skipped.contains(where: { fits($0) }) { return next }
        }
        return nil
    }

    /// The minute of its first tick behind another where the clocks are never moved.
    func tick(after minutes: Int) -> Int? {
        for day in minutes / 1440...minutes / 1440 + 41 * 366 where fits(day: day) {
            for minute in max(day * 1440, minutes + 1)..<(day + 1) * 1440 where fits(minuteOfDay: minute % 1440) {
                return minute
            }
        }
        return nil
    }
}

extension CronOracle {
    /// One with many ticks, in which every way to write a field occurs.
    static func dense(using seed: inout Seed) -> CronOracle {
        CronOracle(
            minute: .random(0...59, stars: 4, using: &seed), hour: .random(0...23, stars: 4, using: &seed),
            day: .random(1...31, stars: 8, using: &seed), month: .random(1...12, stars: 9, using: &seed),
            weekday: .random(0...6, stars: 8, using: &seed))
    }

    /// One with few.
    static func sparse(using seed: inout Seed) -> CronOracle {
        CronOracle(
            minute: .random(0...59, stars: 1, using: &seed), hour: .random(0...23, stars: 1, using: &seed),
            day: .random(1...31, stars: 2, using: &seed), month: .random(1...12, stars: 1, using: &seed),
            weekday: .random(0...6, stars: 6, using: &seed))
    }
}

extension CronOracle.Field {
    /// A field of these numbers; so many of ten are a mere star.
    fileprivate static func random(_ numbers: ClosedRange<Int>, stars: Int, using seed: inout Seed) -> Self {
        guard Int.random(in: 0..<10, using: &seed) >= stars else { return Self(text: "*", numbers: Set(numbers)) }
        let items = (0..<Int.random(in: 1...3, using: &seed)).map { _ in item(numbers, using: &seed) }
        return Self(
            text: items.map(\.text).joined(separator: ","),
            numbers: items.reduce(into: []) { $0.formUnion($1.numbers) })
    }

    private static func item(_ numbers: ClosedRange<Int>, using seed: inout Seed) -> Self {
        let ends = [Int.random(in: numbers, using: &seed), Int.random(in: numbers, using: &seed)].sorted()
        let step = Int.random(in: 1...max(2, numbers.upperBound / 3), using: &seed)
        switch Int.random(in: 0..<6, using: &seed) {
        case 0:
            return Self(
                text: "*/\(step)",
                numbers: Set(stride(from: numbers.lowerBound, through: numbers.upperBound, by: step)))
        case 1:
            return Self(text: "\(ends[0])-\(ends[1])", numbers: Set(ends[0]...ends[1]))
        case 2:
            return Self(
                text: "\(ends[0])-\(ends[1])/\(step)", numbers: Set(stride(from: ends[0], through: ends[1], by: step)))
        default:
            return Self(text: name(ends[0], of: numbers), numbers: [ends[0]])
        }
    }

    private static func name(_ number: Int, of numbers: ClosedRange<Int>) -> String {
        switch numbers {
        case 0...6: ["7", "Mon", "tue", "3", "4", "FRI", "sat"][number]
        case 1...12: ["jan", "2", "mar", "apr", "May", "6", "jul", "8", "SEP", "10", "11", "dec"][number - 1]
        default: "\(number)"
        }
    }
}

/// Month and day of a day since 1970 began.
private struct Civil {
    private(set) var month = 1
    private(set) var day: Int

    init(days: Int) {
        var year = 1970
        var rest = days
        while rest >= Self.days(of: 1...12, in: year) {
            rest -= Self.days(of: 1...12, in: year)
            year += 1
        }
        while rest >= Self.days(of: month...month, in: year) {
            rest -= Self.days(of: month...month, in: year)
            month += 1
        }
        day = rest + 1
    }

    private static func days(of months: ClosedRange<Int>, in year: Int) -> Int {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        if months.count == 12 { return isLeap ? 366 : 365 }
        return [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][months.lowerBound - 1]
    }
}
