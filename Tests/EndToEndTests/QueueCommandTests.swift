import Foundation
import Postgres
import TestSupport
import Testing

@Suite("The commands for the queue", .database)
struct QueueCommandTests {
    private let pool = TestDatabase.current.pool

    private func enqueue(_ arguments: String...) async throws -> String {
        let url = try TestDatabase.current.settings.connectionString()
        let run = try await koppeling(["enqueue", "echo"] + arguments, ["DATABASE_URL": url])
        return try #require(run.lines.first, "\(run.errors)")
    }

    /// A rejected job with this reason.
    private func reject(_ reason: String, queue: String = "default") async throws -> String {
        let id = try await enqueue("--queue", queue)
        try await pool.query("select koppeling.cancel_job(\(Int64(id) ?? 0), \(reason))")
        try await pool.execute("update koppeling.job_history set outcome = 'rejected' where id = \(Int64(id) ?? 0)")
        return id
    }

    private func count(_ state: String) async throws -> Int64 {
        try await pool.query("select count(*) from koppeling.jobs where state = \(state)").scalar()
    }

    @Test func `queue shows how much waits, and that it is paused`() async throws {
        _ = try await enqueue("--queue", "letters")
        let pause = try await koppelingHere("queue", "pause", "letters", "--reason", "the printer is out of paper")
        #expect(pause.code == 0, "\(pause.errors)")
        for arguments in [["queue"], ["queue", "status"]] {
            let url = try TestDatabase.current.settings.connectionString()
            let run = try await koppeling(arguments + ["--json"], ["DATABASE_URL": url])
            #expect(run.code == 0, "\(run.errors)")
            let line = try #require(run.lines.first)
            for part in [#""queue":"letters""#, #""ready":1"#, #""blocked":0"#, #""paused":true"#] {
                #expect(line.contains(part), "\(line)")
            }
        }
        let pauses = try await koppelingHere("queue", "pauses")
        #expect(pauses.output.contains("the printer is out of paper"))
        let resume = try await koppelingHere("queue", "resume", "letters")
        #expect(resume.code == 0, "\(resume.errors)")
        let again = try await koppelingHere("queue", "resume", "letters")
        #expect(again.code == 1)
        #expect(again.errors.contains("koppeling queue pauses"))
        let nothing = try await koppelingHere("queue", "pause")
        #expect(nothing.code == 2)
        #expect(nothing.errors.contains("--key"))
    }

    @Test func `limit sets, lists and removes`() async throws {
        let set = try await koppelingHere(
            "limit", "set", "mail", "--concurrency", "3", "--rate", "10", "--period", "90")
        #expect(set.code == 0, "\(set.errors)")
        let list = try await koppelingHere("limit", "list", "--json")
        let line = try #require(list.lines.first)
        for part in [#""limit_key":"mail""#, #""concurrency":3"#, #""rate":10"#, #""period":"00:01:30""#] {
            #expect(line.contains(part), "\(line)")
        }
        let remove = try await koppelingHere("limit", "remove", "mail")
        #expect(remove.code == 0, "\(remove.errors)")
        let again = try await koppelingHere("limit", "remove", "mail")
        #expect(again.code == 1)
    }

    @Test(arguments: [
        ([], "concurrency: is missing"), (["--concurrency", "0"], "concurrency: must be at least 1"),
        (["--rate", "5"], "period: is missing"), (["--rate", "5", "--period", "soon"], "--period is a time"),
        (["--rate", "5000000000", "--period", "1"], "--concurrency and --rate are whole numbers"),
    ])
    func `limit set names what is wrong`(arguments: [String], message: String) async throws {
        let url = try TestDatabase.current.settings.connectionString()
        let run = try await koppeling(["limit", "set", "mail"] + arguments, ["DATABASE_URL": url])
        #expect(run.code == 1)
        #expect(run.errors.hasPrefix("koppeling: \(message)"), "\(run.errors)")
        #expect(try await pool.query("select count(*) from koppeling.limits").scalar(as: Int64.self) == 0)
    }

    @Test func `jobs list takes filters and pages, jobs show tells everything`() async throws {
        let first = try await enqueue("--key", "k", "--args", #"{"hello": "world"}"#)
        let second = try await enqueue("--limit-key", "k", "--queue", "letters")
        _ = try await enqueue()
        let byKey = try await koppelingHere("jobs", "list", "--key", "k", "--json")
        #expect(
            byKey.lines.map { $0.prefix(6 + first.count) }
                == [#"{"id":\#(second)"#, #"{"id":\#(first)"#].map { $0[...] })
        let page = try await koppelingHere("jobs", "list", "--key", "k", "--before", second, "--json")
        #expect(page.lines.count == 1)
        let wrong = try await koppelingHere("jobs", "list", "--state", "odd")
        #expect(wrong.code == 2)
        for part in ["'odd' is invalid", "one of ready, scheduled", "See koppeling jobs list --help"] {
            #expect(wrong.errors.contains(part), "\(wrong.errors)")
        }

        let shown = try await koppelingHere("jobs", "show", first)
        #expect(shown.lines.contains { $0.hasPrefix("args") && $0.contains("world") }, "\(shown.output)")
        let json = try await koppelingHere("jobs", "show", first, "--json")
        #expect(json.output.contains(#""attempts": []"#), "\(json.output)")
        let unknown = try await koppelingHere("jobs", "show", "987654")
        #expect(unknown.code == 1)
    }

    @Test func `retention that is no time is refused as such`() async throws {
        let wrong = try await koppelingHere("queue", "retention", "done", "soon")
        #expect(wrong.code == 2)
        #expect(wrong.errors == "koppeling: \"soon\" is no time: write it like '14 days'.\n")
    }

    @Test func `jobs cancel says which it left alone`() async throws {
        let id = try await enqueue()
        let run = try await koppelingHere("jobs", "cancel", id, "--reason", "a mistake")
        #expect(run.code == 0, "\(run.errors)")
        #expect(try await pool.query("select reason from koppeling.jobs").scalar(as: String.self) == "a mistake")
        let again = try await koppelingHere("jobs", "cancel", id, "987654")
        #expect(again.code == 1)
        #expect(again.errors.contains("\(id), 987654"), "\(again.errors)")
    }

    @Test func `jobs retry takes ids, or all rejected ones that match`() async throws {
        let one = try await reject("No such LIST")
        _ = try await reject("no such list")
        _ = try await reject("no such list", queue: "letters")
        _ = try await reject("too long")
        let filter = ["jobs", "retry", "--rejected", "--queue", "default", "--reason", "such list"]
        let url = try TestDatabase.current.settings.connectionString()
        let dry = try await koppeling(filter + ["--dry-run"], ["DATABASE_URL": url])
        #expect(dry.lines == ["2"], "\(dry.errors)")
        #expect(try await count("rejected") == 4)
        let early = try await koppelingHere("jobs", "retry", "--rejected", "--until", "2020-01-01T00:00:00Z")
        #expect(early.lines == ["0"], "\(early.errors)")
        let single = try await koppelingHere("jobs", "retry", one)
        #expect(single.lines == ["1"], "\(single.errors)")
        let rest = try await koppeling(filter, ["DATABASE_URL": url])
        #expect(rest.lines == ["1"], "\(rest.errors)")
        #expect(try await count("rejected") == 2)
        let since = try await koppelingHere("jobs", "retry", "--rejected", "--since", "2020-01-01T00:00:00Z")
        #expect(since.lines == ["2"], "\(since.errors)")
        #expect(try await count("ready") == 4)

        let finished = try await koppelingHere("jobs", "retry", one)
        #expect(finished.code == 1)
        #expect(finished.errors.hasPrefix("koppeling: id: \(one) is not"), "\(finished.errors)")
        for moment in ["soon", "2026-02-31T00:00:00Z", "2026-02-31", "2026-01-01T00:00:00"] {
            let wrong = try await koppelingHere("jobs", "retry", "--rejected", "--dry-run", "--since", moment)
            #expect(wrong.code == 2)
            for part in ["'\(moment)' is invalid for '--since <since>'", "write it like 2030-01-31T12:00:00Z"] {
                #expect(wrong.errors.contains(part), "\(wrong.errors)")
            }
        }
        let day = try await koppelingHere("jobs", "retry", "--rejected", "--dry-run", "--until", "2020-01-01")
        #expect(day.lines == ["0"], "\(day.errors)")
        for wrong in [[], ["--rejected", "1"], ["--queue", "default"], ["1", "--dry-run"]] {
            let run = try await koppeling(["jobs", "retry"] + wrong, ["DATABASE_URL": url])
            #expect(run.code == 2, "\(wrong)")
        }
    }

    @Test func `jobs retry goes on until none is left`() async throws {
        try await pool.query("select koppeling.enqueue('echo') from generate_series(1, 2500)")
        try await pool.query("select koppeling.cancel_job(id, 'no') from koppeling.job")
        try await pool.execute("update koppeling.job_history set outcome = 'rejected'")
        let run = try await koppelingHere("jobs", "retry", "--rejected")
        #expect(run.lines == ["2500"], "\(run.errors)")
        #expect(try await count("ready") == 2_500)
    }

    @Test func `token create gives the rights that are asked for`() async throws {
        let run = try await koppelingHere("token", "create", "screen", "--may", "read", "--may", "operate")
        #expect(run.code == 0, "\(run.errors)")
        #expect(
            try await pool.query("select rights from koppeling.api_token").scalar(as: [String].self) == [
                "operate", "read",
            ])
        let wrong = try await koppelingHere("token", "create", "other", "--may", "fly")
        #expect(wrong.code == 2)
        #expect(wrong.errors.contains("fly"), "\(wrong.errors)")
    }
}
