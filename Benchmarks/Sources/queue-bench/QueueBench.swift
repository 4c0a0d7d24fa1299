import ArgumentParser

/// The benchmark of the queue: the measuring itself, and the worker process that it measures.
@main
struct QueueBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue-bench", abstract: "Measure the queue: docs/performance.md says what the figures mean.",
        subcommands: [Measure.self, Work.self], defaultSubcommand: Measure.self)
}

/// Why something could not be measured.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
