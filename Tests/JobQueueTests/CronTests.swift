import FoundationEssentials
import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct CronTests {
    let bench = Bench()

    /// Ticks as UTC, to the minute.
    private func ticks(
        _ cron: String, _ zone: String = "UTC", after: String, count: Int32 = 2
    ) async throws -> [String] {
        try await bench.values(
            """
            select to_char(tick at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
            from koppeling.next_ticks(\(cron)::text, \(zone)::text, (\(after)::text || 'Z')::timestamptz,
                \(count)::int) tick
            """)
    }

    static let forms: [(cron: String, after: String, ticks: [String])] = [
        ("* * * * *", "2026-11-24 10:15", ["2026-11-24 10:16", "2026-11-24 10:17"]),
        ("*/20 * * * *", "2026-11-24 10:15", ["2026-11-24 10:20", "2026-11-24 10:40"]),
        ("5,10-12,50-59/9 * * * *", "2026-11-24 10:12", ["2026-11-24 10:50", "2026-11-24 10:59"]),
        ("  0\t0  1   1 * ", "2026-11-24 10:15", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("@hourly", "2026-12-31 23:30", ["2027-01-01 00:00", "2027-01-01 01:00"]),
        ("@daily", "2026-11-24 10:15", ["2026-11-25 00:00", "2026-11-26 00:00"]),
        ("@weekly", "2026-11-24 10:15", ["2026-11-29 00:00", "2026-12-06 00:00"]),
        ("@Monthly", "2026-11-24 10:15", ["2026-12-01 00:00", "2027-01-01 00:00"]),
        ("@yearly", "2026-11-24 10:15", ["2027-01-01 00:00", "2028-01-01 00:00"]),
        ("30 8 * JAN,mar mon-fri", "2026-11-24 10:15", ["2027-01-01 08:30", "2027-01-04 08:30"]),
        ("0 0 * * 7", "2026-11-24 10:15", ["2026-11-29 00:00", "2026-12-06 00:00"]),
        ("0 0 * * sat-sun", "2026-11-24 10:15", ["2026-11-28 00:00", "2026-11-29 00:00"]),
        // Either day, because neither begins with a star; both, when one does.
        ("0 0 13 * fri", "2026-12-01 10:15", ["2026-12-04 00:00", "2026-12-11 00:00"]),
        ("0 0 */2 * fri", "2026-12-01 10:15", ["2026-12-11 00:00", "2026-12-25 00:00"]),
        ("0 12 31 * *", "2026-08-31 12:00", ["2026-10-31 12:00", "2026-12-31 12:00"]),
        ("0 0 29 2 *", "2026-11-24 10:15", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        // A leap day on a Sunday; 2100 has none.
        ("0 0 29 2 */7", "2080-01-01 00:00", ["2088-02-29 00:00", "2128-02-29 00:00"]),
    ]

    @Test func `all forms of an expression are understood`() async throws {
        for form in Self.forms {
            #expect(try await ticks(form.cron, after: form.after) == form.ticks, "\(form.cron)")
        }
    }

    static let moves: [(cron: String, zone: String, after: String, ticks: [String])] = [
        // Amsterdam, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        ("30 2 * * *", "Europe/Amsterdam", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("0,30 2 * * *", "Europe/Amsterdam", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("0 2,3 * * *", "Europe/Amsterdam", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 00:00"]),
        ("0 3 * * *", "Europe/Amsterdam", "2026-03-28 12:00", ["2026-03-29 01:00", "2026-03-30 01:00"]),
        ("30 * * * *", "Europe/Amsterdam", "2026-03-28 23:45", ["2026-03-29 00:30", "2026-03-29 01:30"]),
        ("0 */2 * * *", "Europe/Amsterdam", "2026-03-28 22:45", ["2026-03-28 23:00", "2026-03-29 02:00"]),
        ("*/30 2 * * *", "Europe/Amsterdam", "2026-03-28 12:00", ["2026-03-30 00:00", "2026-03-30 00:30"]),
        // 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
        ("30 2 * * *", "Europe/Amsterdam", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        ("30 2 * * *", "Europe/Amsterdam", "2026-10-25 01:10", ["2026-10-26 01:30", "2026-10-27 01:30"]),
        ("0 2,3 * * *", "Europe/Amsterdam", "2026-10-24 12:00", ["2026-10-25 00:00", "2026-10-25 02:00"]),
        ("30 * * * *", "Europe/Amsterdam", "2026-10-24 23:45", ["2026-10-25 00:30", "2026-10-25 01:30"]),
        (
            "*/30 2 * * *", "Europe/Amsterdam", "2026-10-24 12:00",
            ["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-26 01:00"]
        ),
        // New York, 8 March and 1 November 2026, at 07:00 and 06:00 UTC.
        ("15 2 * * *", "America/New_York", "2026-03-07 12:00", ["2026-03-08 07:00", "2026-03-09 06:15"]),
        ("30 1 * * *", "America/New_York", "2026-10-31 12:00", ["2026-11-01 05:30", "2026-11-02 06:30"]),
        (
            "@hourly", "America/New_York", "2026-11-01 04:30",
            ["2026-11-01 05:00", "2026-11-01 06:00", "2026-11-01 07:00"]
        ),
        // Lord Howe moves its clocks by half an hour, 4 October and 5 April 2026 there, at 15:30 and 15:00 UTC.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 00:00", ["2026-04-04 14:45", "2026-04-05 15:15"]),
        (
            "*/30 * * * *", "Australia/Lord_Howe", "2026-04-04 14:10",
            ["2026-04-04 14:30", "2026-04-04 15:00", "2026-04-04 15:30"]
        ),
        // Kolkata never moves its clocks.
        ("30 2 * * *", "Asia/Kolkata", "2026-03-28 22:00", ["2026-03-29 21:00", "2026-03-30 21:00"]),
        // Samoa had no 30 December 2011.
        ("0 12 * * *", "Pacific/Apia", "2011-12-29 23:00", ["2011-12-30 10:00", "2011-12-30 22:00"]),
    ]

    @Test func `clocks that are moved neither lose nor double a tick`() async throws {
        for move in Self.moves {
            let found = try await ticks(move.cron, move.zone, after: move.after, count: Int32(move.ticks.count))
            #expect(found == move.ticks, "\(move.cron) in \(move.zone)")
        }
    }

    static let faults: [(cron: String, zone: String, says: String)] = [
        ("", "UTC", #"cron: "" must have five fields"#),
        ("0 0 * * * *", "UTC", #"cron: "0 0 * * * *" must have five fields"#),
        ("@reboot", "UTC", #"cron: "@reboot" is none of @hourly"#),
        ("60 * * * *", "UTC", #"cron: the minute "60" must be from 0 to 59"#),
        ("0 24 * * *", "UTC", #"cron: the hour "24" must be from 0 to 23"#),
        ("0 0 0 * *", "UTC", #"cron: the day of month "0" must be from 1 to 31"#),
        ("0 0 1 13 *", "UTC", #"cron: the month "13" must be from 1 to 12, or jan to dec"#),
        ("0 0 * * monday", "UTC", #"cron: the day of week "monday" must be from 0 to 7, or sun to sat"#),
        ("0 0 * mon *", "UTC", #"cron: the month "mon" must be"#),
        ("0 0 L * *", "UTC", #"cron: the day of month "l" must be"#),
        ("0 0 ? * *", "UTC", #"cron: the day of month "?" is not *, a number"#),
        ("1,,2 * * * *", "UTC", #"cron: the minute "" is not *"#),
        ("-1 * * * *", "UTC", #"cron: the minute "-1" is not *"#),
        ("0 17-9 * * *", "UTC", #"cron: the hour "17-9" is a range that runs backwards"#),
        ("0 0 * * fri-mon", "UTC", #"cron: the day of week "fri-mon" is a range that runs backwards"#),
        ("5/15 * * * *", "UTC", #"cron: the minute "5/15" has a step and no range: write 5-59/15"#),
        ("*/0 * * * *", "UTC", #"cron: the minute "*/0" must have a step from 1 to 59"#),
        ("*/90 * * * *", "UTC", #"cron: the minute "*/90" must have a step from 1 to 59"#),
        ("0 0 31 2,4 *", "UTC", #"cron: "0 0 31 2,4 *" names a day that never comes"#),
        ("* * * * *", "Europe/Amsterdm", #"time_zone: "Europe/Amsterdm" is not the name"#),
        ("* * * * *", "", #"time_zone: "" is not the name"#),
        // The server would take these for zones that never move their clocks.
        ("* * * * *", "CET", #"time_zone: "CET" is not the name"#),
        ("* * * * *", "Europe/Amsterdam2", #"time_zone: "Europe/Amsterdam2" is not the name"#),
    ]

    @Test func `what is wrong is said of the field that has it`() async throws {
        for fault in Self.faults {
            let error = await #expect(throws: PostgresError.self, "\(fault.cron) \(fault.zone)") {
                try await bench.queue.nextTicks(of: fault.cron, timeZone: fault.zone)
            }
            #expect(error?.sqlState == "22023")
            #expect(error?.message.contains(fault.says) == true, "\(error?.message ?? "")")
        }
    }

    /// Places, and moments at which their clocks are moved, or nothing happens.
    static let windows: [(zone: String, around: String)] = [
        ("Europe/Amsterdam", "2026-03-29 01:00"), ("Europe/Amsterdam", "2026-10-25 01:00"),
        ("Europe/Amsterdam", "2026-06-30 22:00"), ("America/New_York", "2027-03-14 07:00"),
        ("America/New_York", "2027-11-07 06:00"), ("Australia/Lord_Howe", "2026-10-03 15:30"),
        ("Australia/Lord_Howe", "2026-04-04 15:00"), ("Asia/Kolkata", "2026-12-31 18:30"),
        // At a minute past midnight, so that the day before comes again.
        ("America/St_Johns", "2006-10-29 02:31"), ("America/St_Johns", "2006-04-02 03:31"),
        // At midnight, so that a day begins at one o'clock; back at midnight; by two hours; a whole day lost.
        ("America/Sao_Paulo", "2017-10-15 03:00"), ("America/Sao_Paulo", "2018-02-18 02:00"),
        ("Antarctica/Troll", "2026-03-29 01:00"), ("Antarctica/Troll", "2026-10-25 01:00"),
        ("Pacific/Apia", "2011-12-30 10:00"),
    ]

    @Test(arguments: windows)
    func `next_tick finds what a walk over the minutes finds`(zone: String, around: String) async throws {
        var seed = Seed("next_tick in \(zone) around \(around)")
        let reach = 2 * 1440
        let shown: [Int64] = try await bench.value(
            """
            select array_agg(extract(epoch from minute at time zone \(zone)::text)::bigint / 60 order by minute)
            from generate_series((\(around)::text || 'Z')::timestamptz - interval '2 days',
                (\(around)::text || 'Z')::timestamptz + interval '2 days', interval '1 minute') minute
            """)
        let minutes = shown.map { Int($0) }
        var crons: [CronOracle] = []
        while crons.count < 40 {
            let cron = CronOracle.dense(using: &seed)
            if cron.comes { crons.append(cron) }
        }
        // Most of them close to the change, all far enough behind the beginning for the walk to know what was shown.
        let afters = crons.map { _ in
            Int.random(in: Bool.random(using: &seed) ? reach - 150...reach + 90 : 1441...2 * reach - 720, using: &seed)
        }
        let found: [Int64] = try await bench.values(
            """
            select extract(epoch from koppeling.next_tick(c.cron, \(zone)::text, w.start + make_interval(secs => c.after))
                - w.start)::bigint
            from unnest(\(crons.map(\.text))::text[], \(afters.map { $0 * 60 + $0 % 60 })::bigint[])
                with ordinality c (cron, after, n)
            cross join (select (\(around)::text || 'Z')::timestamptz - interval '2 days' as start) w
            order by c.n
            """)
        for (index, cron) in crons.enumerated() {
            let tick = Int(found[index])
            if let expected = cron.tick(after: afters[index], in: minutes) {
                #expect(tick == expected * 60, "\(cron.text) after minute \(afters[index])")
            } else {
                #expect(tick > 2 * reach * 60, "\(cron.text) after minute \(afters[index])")
            }
        }
    }

    @Test func `ticks far apart are those that a walk over the days finds`() async throws {
        var seed = Seed()
        let cases = (0..<300).map { _ in
            (CronOracle.sparse(using: &seed), Int.random(in: 29_000_000...33_000_000, using: &seed))
        }.filter { $0.0.comes }
        let found: [Int64] = try await bench.values(
            """
            select extract(epoch from koppeling.next_tick(c.cron, 'UTC', to_timestamp(c.after * 60)))::bigint / 60
            from unnest(\(cases.map(\.0.text))::text[], \(cases.map(\.1))::bigint[]) with ordinality c (cron, after, n)
            order by c.n
            """)
        for (index, (cron, after)) in cases.enumerated() {
            #expect(cron.tick(after: after) == Int(found[index]), "\(cron.text) after minute \(after)")
        }
    }
}
