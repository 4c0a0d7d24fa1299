import Foundation
import Testing

/// The program as a user gets it: another process, with nothing set and nothing prepared.
@Suite("The program")
struct StoryTests {
    /// What a run printed, and how it ended.
    private struct Run {
        var code: Int32
        var output: String
        var errors: String
    }

    /// Runs the program that was built beside the tests.
    private func koppeling(_ arguments: [String], _ environment: [String: String]) throws -> Run {
        let process = Process()
        let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.executableURL = tests.deletingLastPathComponent().appending(path: "koppeling")
        process.arguments = arguments
        // Nothing of the developer's own settings.
        let kept = ProcessInfo.processInfo.environment.filter { ["PATH", "HOME", "USER", "LANG"].contains($0.key) }
        process.environment = kept.merging(environment) { $1 }
        // Files rather than pipes: nobody has to read one while the other fills up.
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let output = folder.appending(path: "output")
        let errors = folder.appending(path: "errors")
        try Data().write(to: output)
        try Data().write(to: errors)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        process.waitUntilExit()
        return Run(
            code: process.terminationStatus, output: String(decoding: try Data(contentsOf: output), as: UTF8.self),
            errors: String(decoding: try Data(contentsOf: errors), as: UTF8.self))
    }

    @Test("tells its whole story on a private database and the stand-in for Mailchimp", .timeLimit(.minutes(10)))
    func story() throws {
        let run = try koppeling(["demo", "--once"], ["LOG_LEVEL": "warning"])
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
            (["plan", "approve"], [:], 2, "See koppeling help"),
            (["nonsense"], [:], 2, "See koppeling help"),
        ] as [([String], [String: String], Int32, String)])
    func failures(arguments: [String], environment: [String: String], code: Int32, word: String) throws {
        let run = try koppeling(arguments, environment)
        #expect(run.code == code)
        #expect(run.errors.contains(word), "\(run.errors)")
        #expect(run.errors.split(separator: "\n").filter { $0.hasPrefix("koppeling: ") }.count == 1, "\(run.errors)")
    }
}
