/// Reading and writing the API's times: whole seconds out, anything of ISO 8601 in.
enum Timestamp {
    /// `2021-11-23T22:51:56+00:00`, or nothing for no time.
    static func text(_ seconds: Int?) -> String {
        guard let seconds else { return "" }
        let (date, time) = parts(seconds)
        return "\(date)T\(time)+00:00"
    }

    /// `2021-11-23 22:51:56`, as webhooks have it.
    static func plain(_ seconds: Int) -> String {
        let (date, time) = parts(seconds)
        return "\(date) \(time)"
    }

    private static func parts(_ seconds: Int) -> (date: String, time: String) {
        let day = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        let rest = seconds - day * 86_400
        let civil = civil(day: day)
        let date = "\(padded(civil.year, 4))-\(padded(civil.month, 2))-\(padded(civil.day, 2))"
        return (date, "\(padded(rest / 3600, 2)):\(padded(rest / 60 % 60, 2)):\(padded(rest % 60, 2))")
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let text = String(value)
        return text.utf8.count >= width ? text : String(repeating: "0", count: width - text.utf8.count) + text
    }

    /// Milliseconds since 1970 of a date, with or without a time, a fraction and a zone; UTC when no zone is given.
    static func milliseconds(_ text: String) -> Int? {
        let bytes = Array(text.trimming.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count, bytes[range].allSatisfy({ (48...57).contains($0) }) else {
                return nil
            }
            return bytes[range].reduce(0) { $0 * 10 + Int($1) - 48 }
        }
        guard bytes.count >= 10, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"),
            let year = number(0..<4), let month = number(5..<7), let day = number(8..<10),
            (1...12).contains(month), (1...days(in: month, of: year)).contains(day)
        else { return nil }
        let midnight = dayNumber(year: year, month: month, day: day) * 86_400_000
        guard bytes.count > 10 else { return midnight }
        guard let hour = number(11..<13), let minute = number(14..<16), hour < 24, minute < 60 else { return nil }
        var result = midnight + hour * 3_600_000 + minute * 60_000
        var position = 16
        if position < bytes.count, bytes[position] == UInt8(ascii: ":") {
            guard let second = number(17..<19), second < 61 else { return nil }
            result += second * 1000
            position = 19
        }
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            var scale = 100
            position += 1
            while position < bytes.count, (48...57).contains(bytes[position]) {
                result += (Int(bytes[position]) - 48) * scale
                scale /= 10
                position += 1
            }
        }
        guard position < bytes.count, bytes[position] != UInt8(ascii: "Z") else { return result }
        // A plus that was not percent-encoded arrives as a space.
        let isEast = bytes[position] == UInt8(ascii: "+") || bytes[position] == 0x20
        guard isEast || bytes[position] == UInt8(ascii: "-"), let hours = number(position + 1..<position + 3) else {
            return nil
        }
        let hasColon = position + 3 < bytes.count && bytes[position + 3] == UInt8(ascii: ":")
        let minutes = number(position + (hasColon ? 4 : 3)..<position + (hasColon ? 6 : 5)) ?? 0
        let offset = (hours * 60 + minutes) * 60_000
        return isEast ? result - offset : result + offset
    }

    static func days(in month: Int, of year: Int) -> Int {
        switch month {
        case 2: (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since 1970-01-01, counting years from March so that the leap day comes last.
    private static func dayNumber(year: Int, month: Int, day: Int) -> Int {
        let shifted = month <= 2 ? year - 1 : year
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civil(day: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}
