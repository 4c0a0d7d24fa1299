import ArgumentParser
import Foundation
import IO
import JobQueue
import Logging
import Postgres
import ServiceLifecycle
import UnixSignals

/// `queue-bench work`: one worker process as a user of the library would write it, with a handler that does nothing.
///
/// It tells on stdout how many jobs it has handled, and ends in good order when its stdin does.
struct Work: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The worker process that is measured.", shouldDisplay: false)

    /// The kind of the jobs.
    static let kind = "bench.nothing"

    @Option var database: String
    @Option var name: String
    @Option var batch: Int
    @Option var lanes: Int

    /// What the process tells about itself.
    struct Line: Codable {
        var handled: Int
        /// Only in the last line: the most memory it had, in MB.
        var peak: Double?
        /// Only in the last line: processor time it used, in seconds.
        var processor: Double?
        /// Only in the last line: from enqueueing to starting, in milliseconds, for jobs that say when they were enqueued.
        var latencies: [Double]?
    }

    func run() async throws {
        let pool = Pool(ConnectionSettings(url: database, statementTimeout: .seconds(600)), maximum: lanes + 2)
        var logger = Logger(label: "queue-bench") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .warning
        let tally = Tally()
        let worker = Worker(pool: pool, options: .init(name: name), logger: logger)
        let services = ServiceGroup(
            services: [worker, Consumption(worker: worker, tally: tally, batch: batch, lanes: lanes)],
            gracefulShutdownSignals: [.sigterm], logger: logger)
        startThread {
            while (try? FileHandle.standardInput.read(upToCount: 1))?.isEmpty == false {}
            Task { await services.triggerGracefulShutdown() }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    try Self.tell(Line(handled: tally.handled))
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
            try await services.run()
            group.cancelAll()
        }
        try Self.tell(
            Line(
                handled: tally.handled, peak: Self.peakMemory(), processor: Self.processorTime(),
                latencies: tally.latencies))
    }

    private static func peakMemory() -> Double {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        return (line?.split(whereSeparator: \.isWhitespace).compactMap { Double($0) }.first ?? 0) / 1024
    }

    private static func processorTime() -> Double {
        var usage = rusage()
        unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    private static func tell(_ line: Line) throws {
        Console.line(try JSONText(encoding: line).text)
    }
}
