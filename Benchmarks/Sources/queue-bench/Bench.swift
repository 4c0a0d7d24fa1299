import ArgumentParser
import Foundation
import Postgres

/// One run of the benchmark: what is measured with what, and the figures that others are held against.
final class Bench {
    let server: Server
    let report: Report
    let isQuick: Bool
    let python: String?
    let setup: Fleet.Setup

    /// Jobs a second, as far as they have been measured.
    var ceilingDrain: Double?
    var ceilingSteady: Double?
    var peerDrain: Double?
    var peerSteady: Double?
    var ownDrain: Double?
    var ownSteady: Double?
    /// The most memory of a worker with a million jobs ready, in MB.
    var backlogPeak: Double?

    init(server: Server, report: Report, isQuick: Bool, python: String?, setup: Fleet.Setup) {
        self.server = server
        self.report = report
        self.isQuick = isQuick
        self.python = python
        self.setup = setup
    }

    func run(_ parts: [Part]) async throws {
        report.note(try await server.description())
        var failed = false
        for part in Part.allCases where parts.contains(part) {
            let clock = Stopwatch()
            do {
                try await measure(part)
            } catch {
                try Task.checkCancellation()
                // The others are worth measuring all the same.
                report.note("\(part.rawValue) could not be measured: \(error)")
                failed = true
            }
            report.note("(\(part.rawValue): \(Int(clock.seconds)) s)")
        }
        guard !failed else { throw ExitCode.failure }
    }

    private func measure(_ part: Part) async throws {
        switch part {
        case .peers: try await measurePeers()
        case .ceiling: try await measureCeiling()
        case .designs: try await measureDesigns()
        case .drain: _ = try await drainRate()
        case .steady: _ = try await steadyRate()
        case .enqueue: try await measureEnqueue()
        case .latency: try await measureLatency()
        case .idle: try await measureIdle()
        case .history: try await measureHistory()
        case .backlog: try await measureBacklog()
        case .snapshot: try await measureSnapshot()
        case .workers: try await measureWorkers()
        case .keys: try await measureKeys()
        case .memory: try await measureMemory()
        }
    }

    /// The middle one of three measurements, or a single one in a quick run: on a small machine one in three is disturbed.
    func median(_ measure: () async throws -> Double) async throws -> Double {
        var values: [Double] = []
        for _ in 0..<(isQuick ? 1 : 3) { values.append(try await measure()) }
        return values.sorted()[values.count / 2]
    }

    /// So many, or a tenth of it in a quick run.
    func scaled(_ count: Int) -> Int { isQuick ? count / 10 : count }

    /// So long, or a fifth of it in a quick run: a tenth would measure the start.
    func scaled(seconds: Double) -> Double { isQuick ? seconds / 5 : seconds }

    /// A file that belongs to the benchmark.
    func file(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "queue/\(name)").path
    }

    /// Shows a figure against another one, when that was measured.
    func show(
        _ name: String, _ value: Double, _ unit: String = "jobs/s", of base: String, _ baseValue: Double?, aim: Double
    ) throws {
        guard let baseValue else { return }
        try report.show(Figure(name, value, unit, of: (base, baseValue), aim: aim))
    }
}
