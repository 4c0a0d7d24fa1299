import Foundation
import IO

/// A program started by this one, whose lines are read as they come.
///
/// Its stdin is a pipe that ends with this program, so that a child which watches it never outlives us.
// Sendable because a process is only asked for its number and its end, which any thread may do.
final class Child: @unchecked Sendable {
    private let process = Process()
    private let input = Pipe()
    private let name: String
    /// What it printed, line by line; ends when it closes its stdout.
    let lines: AsyncStream<String>

    init(_ program: String, _ arguments: [String]) throws {
        name = URL(filePath: program).lastPathComponent
        let output = Pipe()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        process.standardInput = input
        process.standardOutput = output
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        self.lines = lines
        try Self.withoutBlockedSignals { try process.run() }
        let reading = output.fileHandleForReading
        startThread {
            var rest = Data()
            // `availableData` answers with what there is; `read(upToCount:)` would wait until all of that had come.
            while true {
                let chunk = reading.availableData
                if chunk.isEmpty { break }
                rest.append(chunk)
                while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                    continuation.yield(String(decoding: rest[..<end], as: UTF8.self))
                    rest = Data(rest[rest.index(after: end)...])
                }
            }
            continuation.finish()
        }
    }

    /// Runs a program to its end and returns what it printed; ends it after this time, or when the task is cancelled.
    static func run(_ program: String, _ arguments: [String], within time: Duration) async throws -> [String] {
        let child = try Child(program, arguments)
        let alarm = Task {
            try await Task.sleep(for: time)
            child.kill()
        }
        defer { alarm.cancel() }
        return try await withTaskCancellationHandler {
            var lines: [String] = []
            for await line in child.lines { lines.append(line) }
            try await child.end()
            return lines
        } onCancel: {
            child.kill()
        }
    }

    /// A child inherits which signals are blocked, and the threads of tasks block all: pgbench would never hear its alarm.
    private static func withoutBlockedSignals(_ body: () throws -> Void) rethrows {
        var none = sigset_t()
        var before = sigset_t()
        unsafe sigemptyset(&none)
        unsafe pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    /// Lets it see the end of its input.
    func closeInput() {
        try? input.fileHandleForWriting.close()
    }

    /// Ends it at once.
    func kill() {
        if process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
    }

    /// Waits for its end.
    ///
    /// - Throws: ``Failure`` when it failed.
    func end() async throws {
        let code = await blocking { [self] () -> Int32 in
            process.waitUntilExit()
            return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        }
        try Task.checkCancellation()
        guard code == 0 else { throw Failure("\(name) ended with \(code)") }
    }
}
