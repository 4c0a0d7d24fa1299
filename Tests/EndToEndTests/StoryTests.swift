import Testing

/// The program as a user gets it: another process, with nothing set and nothing prepared.
@Suite("The program")
struct StoryTests {
    @Test("tells its whole story on a private database and the stand-in for Mailchimp", .timeLimit(.minutes(10)))
    func story() async throws {
        let run = try await koppeling(["demo", "--once"], ["LOG_LEVEL": "warning"])
        #expect(run.code == 0, "\(run.output)\(run.errors)")
        let lines = run.output.split(separator: "\n")
        for step in 1...8 {
            #expect(lines.contains { $0.hasPrefix("step \(step) ok: ") }, "step \(step)")
        }
        #expect(lines.last == "demo: ok")
    }

    @Test(
        "ends in one line that says what to do, with the exit code that says what kind of failure it was",
        arguments: [
            (["migrate"], ["DATABASE_URL": "postgresql://127.0.0.1:1/nobody?connect_timeout=2"], 1, "127.0.0.1"),
            (["doctor"], ["KOPPELING_ENVIRONMENT": "holiday"], 2, "production or training"),
            (["serve"], ["KOPPELING_LISTEN": "nowhere"], 2, "127.0.0.1:8080"),
            (["migrate"], ["LOG_LEVEL": "loud"], 2, "LOG_LEVEL"),
            (["plan", "approve"], [:], 2, ". See koppeling plan approve --help."),
            (["jobs", "list", "--limit", "0"], [:], 2, ". See koppeling jobs list --help."),
            (["jobs", "nonsense"], [:], 2, ". See koppeling jobs --help."),
            (["nonsense"], [:], 2, ". See koppeling --help."),
        ] as [([String], [String: String], Int32, String)])
    func failures(arguments: [String], environment: [String: String], code: Int32, word: String) async throws {
        let run = try await koppeling(arguments, environment)
        #expect(run.code == code)
        #expect(run.errors.contains(word), "\(run.errors)")
        #expect(run.errors.split(separator: "\n").filter { $0.hasPrefix("koppeling: ") }.count == 1, "\(run.errors)")
    }
}
