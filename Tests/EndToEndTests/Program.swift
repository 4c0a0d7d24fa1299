import Foundation
import IO
import Postgres
import TestSupport

/// What a run of the program printed, and how it ended.
struct Run: Sendable {
    var code: Int32
    var output: String
    var errors: String

    /// The lines of the output.
    var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// The program that was built beside the tests, not started yet; nothing of the developer's own settings reaches it.
func program(_ arguments: [String], _ environment: [String: String]) -> Process {
    let process = Process()
    let tests = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    process.executableURL = tests.deletingLastPathComponent().appending(path: "koppeling")
    process.arguments = arguments
    let kept = ProcessInfo.processInfo.environment.filter { ["PATH", "HOME", "USER", "LANG"].contains($0.key) }
    process.environment = kept.merging(environment) { $1 }
    return process
}

/// Runs the program to its end.
func koppeling(
    _ arguments: [String], _ environment: [String: String] = [:], input: String = ""
) async throws -> Run {
    try await blocking {
        let process = program(arguments, environment)
        // Files rather than pipes: nobody has to read one while the other fills up.
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let files = ["input", "output", "errors"].map { folder.appending(path: $0) }
        for file in files { try Data((file == files[0] ? input : "").utf8).write(to: file) }
        process.standardInput = try FileHandle(forReadingFrom: files[0])
        process.standardOutput = try FileHandle(forWritingTo: files[1])
        process.standardError = try FileHandle(forWritingTo: files[2])
        try process.run()
        process.waitUntilExit()
        return Run(
            code: process.terminationStatus, output: String(decoding: try Data(contentsOf: files[1]), as: UTF8.self),
            errors: String(decoding: try Data(contentsOf: files[2]), as: UTF8.self))
    }
}

/// Runs the program to its end on the database of the running test.
func koppelingHere(_ arguments: String..., input: String = "") async throws -> Run {
    let url = try TestDatabase.current.settings.connectionString()
    return try await koppeling(arguments, ["DATABASE_URL": url, "LOG_LEVEL": "warning"], input: input)
}
