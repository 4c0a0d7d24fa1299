import ArgumentParser
import Foundation
import UnixSignals

/// `queue-bench`: measures the queue, the ceiling and the peers in one run.
struct Measure: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure the queue, raw SQL and other queues on one server that it makes itself.")

    @Flag(help: "One JSON object a line, instead of a table.")
    var json = false

    @Flag(help: "A tenth of the work: a check that it runs, not a measurement.")
    var quick = false

    @Option(
        help: ArgumentHelp(
            "Only these figures, with commas: \(Part.allCases.map(\.rawValue).joined(separator: ", ")).",
            valueName: "figures"))
    var only: String?

    @Option(help: "Jobs a claim of our worker.")
    var batch = 500

    @Option(help: "Batches that our worker has under way at once.")
    var lanes = 4

    @Option(help: ArgumentHelp("A Python that has the peers.", valueName: "path"))
    var python: String?

    func run() async throws {
        let parts = try wanted()
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await Server.with { server in
                    let bench = Bench(
                        server: server, report: Report(json: json), isQuick: quick, python: python,
                        setup: Fleet.Setup(batch: batch, lanes: lanes))
                    try await bench.run(parts)
                }
            }
            group.addTask {
                for await _ in signals { throw Failure("stopped: what was started is ended") }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func wanted() throws -> [Part] {
        guard let only else { return Part.allCases.filter(\.isInFullRun) }
        return try only.split(separator: ",").map { name in
            guard let part = Part(rawValue: String(name)) else {
                throw ValidationError("There is no figure \(name): \(Part.allCases.map(\.rawValue)).")
            }
            return part
        }
    }
}

/// The parts of the benchmark, in the order in which they are measured.
enum Part: String, CaseIterable {
    case peers, ceiling, designs, drain, steady, enqueue, latency, idle, history, backlog, snapshot, workers, keys,
        memory

    /// The comparison of the designs is for whoever doubts the ceiling.
    var isInFullRun: Bool { self != .designs }
}
