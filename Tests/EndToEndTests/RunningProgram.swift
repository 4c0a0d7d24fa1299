import Foundation
import Postgres
import TestSupport

/// The program while it runs, on the database of the running test, with what it has printed so far.
struct RunningProgram {
    let process: Process
    private let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)

    init(_ arguments: [String], _ environment: [String: String]) throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let url = ["DATABASE_URL": try TestDatabase.current.settings.connectionString()]
        process = program(arguments, url.merging(environment) { _, given in given })
        process.standardInput = FileHandle.nullDevice
        for name in ["output", "errors"] { try Data().write(to: folder.appending(path: name)) }
        process.standardOutput = try FileHandle(forWritingTo: folder.appending(path: "output"))
        process.standardError = try FileHandle(forWritingTo: folder.appending(path: "errors"))
        try process.run()
    }

    func output() throws -> String { try text("output") }

    func errors() throws -> String { try text("errors") }

    private func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: folder.appending(path: name)), as: UTF8.self)
    }

    /// Ends it, should it run still, and forgets what it printed.
    func clean() {
        if process.isRunning { process.terminate() }
        try? FileManager.default.removeItem(at: folder)
    }
}
