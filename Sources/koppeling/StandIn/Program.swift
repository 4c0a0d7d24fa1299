import Foundation

/// This program, run as a user would: another process with its own arguments, stdin and environment.
struct Program: Sendable {
    /// What a finished run printed, and its exit code.
    struct Run: Sendable {
        var code: Int32
        var output: String
        var errors: String
    }

    let environment: [String: String]

    /// Runs a command to its end.
    ///
    /// - Throws: ``Failure`` when it does not exit with the expected code.
    @discardableResult
    func run(_ arguments: String..., input: String = "", expecting code: Int32 = 0) async throws -> Run {
        let finished = try await Self.finish(try Self.start(prepared(arguments)), input: input)
        guard finished.code == code else {
            throw Failure(
                "`koppeling \(arguments.joined(separator: " "))` ended with \(finished.code) instead of \(code): "
                    + finished.errors + finished.output)
        }
        return finished
    }

    /// Starts a worker, which ends with this program whatever becomes of it; its log goes to a file.
    func startWorker(_ arguments: [String] = ["work", "--until-input-ends"], log: String) throws -> Worker {
        let process = prepared(arguments)
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        guard let file = FileHandle(forWritingAtPath: log) else { throw Failure("\(log) cannot be written") }
        let input = Pipe()
        process.standardInput = input
        process.standardOutput = file
        process.standardError = file
        try process.run()
        return Worker(process: process, input: input, log: log)
    }

    /// A worker process.
    // Sendable because one step of the story at a time uses it.
    struct Worker: @unchecked Sendable {
        let process: Process
        let input: Pipe
        let log: String

        /// Ends it at once, as a power failure would.
        func kill() { Glibc.kill(process.processIdentifier, SIGKILL) }

        /// The end of its log.
        func lastLines() -> String {
            let text = FileManager.default.contents(atPath: log).map { String(decoding: $0, as: UTF8.self) } ?? ""
            return text.split(separator: "\n").suffix(20).joined(separator: "\n")
        }

        /// The most memory it had so far, in MB.
        func peakMemory() -> Double { memory("VmHWM:") }

        /// The memory it has now, in MB.
        func residentMemory() -> Double { memory("VmRSS:") }

        private func memory(_ figure: String) -> Double {
            let path = "/proc/\(process.processIdentifier)/status"
            let status = FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
            let line = status.split(separator: "\n").first { $0.hasPrefix(figure) }
            let kilobytes = line?.split(separator: " ").compactMap { Double($0) }.first
            return (kilobytes ?? 0) / 1024
        }

        /// Processor time it used so far, in seconds.
        func processorTime() -> Double {
            let stat = FileManager.default.contents(atPath: "/proc/\(process.processIdentifier)/stat")
            let fields = stat.map { String(decoding: $0, as: UTF8.self) }?.split(separator: ")").last?
                .split(separator: " ")
            guard let fields, fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
                return 0
            }
            return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
        }

        /// Lets it finish or give back what it has, and waits for its end.
        ///
        /// One that has ended already stays so.
        func stop() {
            try? input.fileHandleForWriting.close()
            process.waitUntilExit()
        }
    }

    /// Runs another program to its end and returns what it printed.
    ///
    /// - Throws: ``Failure`` when it fails.
    static func output(of program: String, _ arguments: [String]) async throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: program)
        process.arguments = arguments
        let finished = try await finish(try start(process), input: "")
        guard finished.code == 0 else { throw Failure("\(program) failed: \(finished.errors)") }
        return finished.output
    }

    // Sendable because it is handed from the starting task to the thread that waits, and used by no other.
    private struct Started: @unchecked Sendable {
        let process: Process
        let input: Pipe
        let output: Pipe
        let errors: Pipe
    }

    private func prepared(_ arguments: [String]) -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        return process
    }

    private static func start(_ process: Process) throws -> Started {
        let started = Started(process: process, input: Pipe(), output: Pipe(), errors: Pipe())
        process.standardInput = started.input
        process.standardOutput = started.output
        process.standardError = started.errors
        try process.run()
        return started
    }

    private static func finish(_ started: Started, input: String) async throws -> Run {
        try await withCheckedThrowingContinuation { continuation in
            // Reading a pipe blocks: a thread of its own, not one of the tasks'.
            Thread.detachNewThread {
                do {
                    try started.input.fileHandleForWriting.write(contentsOf: Data(input.utf8))
                    try started.input.fileHandleForWriting.close()
                    let output = try started.output.fileHandleForReading.readToEnd() ?? Data()
                    let errors = try started.errors.fileHandleForReading.readToEnd() ?? Data()
                    started.process.waitUntilExit()
                    continuation.resume(
                        returning: Run(
                            code: started.process.terminationStatus, output: String(decoding: output, as: UTF8.self),
                            errors: String(decoding: errors, as: UTF8.self)))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }
}
