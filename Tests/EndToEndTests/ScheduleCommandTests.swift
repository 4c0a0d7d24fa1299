import Postgres
import TestSupport
import Testing

@Suite("koppeling schedule", .database)
struct ScheduleCommandTests {
    private let pool = TestDatabase.current.pool

    @Test func `puts, lists, pauses, resumes, runs and removes a schedule`() async throws {
        let put = try await koppelingHere(
            "schedule", "put", "nightly", "30 2 * * *", "echo", "--time-zone", "Europe/Amsterdam", "--missed", "skip",
            "--args", "[1]", "--queue", "letters", "--key", "k", "--key-mode", "append", "--order-key", "o",
            "--limit-key", "l", "--priority", "-7", "--max-attempts", "3")
        #expect(put.code == 0, "\(put.errors)")
        #expect(put.output.wholeMatch(of: /20\S+:30:00\.000Z\n/) != nil, "the next tick: \(put.output)")
        let stored: String = try await pool.query(
            """
            select concat_ws(' ', cron, time_zone, missed, kind, args, queue, key, key_mode, order_key, limit_key, priority,
                max_attempts)
            from koppeling.schedules
            """
        ).scalar()
        #expect(stored == "30 2 * * * Europe/Amsterdam skip echo [1] letters k append o l -7 3")
        let listed = try await koppelingHere("schedule", "list", "--json")
        #expect(listed.lines.count == 1)
        #expect(listed.output.contains(#""name":"nightly","cron":"30 2 * * *""#), "\(listed.output)")
        for (word, paused) in [("pause", true), ("resume", false)] {
            let run = try await koppelingHere("schedule", word, "nightly")
            #expect(run.code == 0, "\(run.errors)")
            #expect(try await pool.query("select paused from koppeling.schedules").scalar(as: Bool.self) == paused)
        }
        let run = try await koppelingHere("schedule", "run", "nightly")
        #expect(run.lines == ["\(try await pool.query("select id from koppeling.job").scalar(as: Int64.self))"])
        let removed = try await koppelingHere("schedule", "remove", "nightly")
        #expect(removed.code == 0, "\(removed.errors)")
        let again = try await koppelingHere("schedule", "remove", "nightly")
        #expect(again.code == 1)
        #expect(again.errors.hasPrefix("koppeling: There is no schedule nightly"), "\(again.errors)")
    }

    @Test func `shows the next ticks of an expression`() async throws {
        let run = try await koppelingHere(
            "schedule", "next", "0 12 29 2 *", "--time-zone", "Europe/Amsterdam", "--limit", "3")
        #expect(run.code == 0, "\(run.errors)")
        #expect(run.lines.count == 4)
        #expect(run.lines.dropFirst().allSatisfy { $0.hasSuffix("-02-29 12:00") }, "\(run.output)")
    }

    @Test(arguments: [
        (["put", "s", "0 25 * * *", "echo"], "cron: the hour \"25\" must be from 0 to 23"),
        (["put", "s", "@daily", "nonsense"], "kind: \"nonsense\" is unknown"),
        (["put", "s", "@daily", "echo", "--time-zone", "CET"], "time_zone: \"CET\" is not"),
        (["put", "s", "@daily", "echo", "--args", "{"], "args: not JSON"),
        (["put", "s", "@daily", "echo", "--missed", "all"], "missed: must be skip or once"),
        (["next", "0 0 31 2 *"], "cron: \"0 0 31 2 *\" names a day that never comes"),
        (["run", "s"], "name: there is no schedule \"s\""),
        (["pause", "s"], "There is no schedule s"),
    ])
    func `names what is wrong, and puts nothing`(arguments: [String], message: String) async throws {
        let url = try TestDatabase.current.settings.connectionString()
        let run = try await koppeling(["schedule"] + arguments, ["DATABASE_URL": url])
        #expect(run.code == 1)
        #expect(run.errors.hasPrefix("koppeling: \(message)"), "\(run.errors)")
        #expect(try await pool.query("select from koppeling.schedules").isEmpty)
    }
}
