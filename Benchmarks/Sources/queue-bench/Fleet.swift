import Foundation
import IO
import Postgres

/// Worker processes, and what they have handled so far.
final class Fleet: Sendable {
    /// How the workers are set up.
    struct Setup: Sendable {
        var batch: Int
        var lanes: Int
    }

    /// What the workers said when they ended.
    struct Ending {
        /// The most memory that one of them had, in MB.
        var peak: Double
        /// Their processor time, in seconds.
        var processor: Double
        var latencies: [Double]
    }

    private struct Counts {
        var handled: [Int]
        var last: [Work.Line?]
        /// When how many were handled, by all.
        var samples: [(seconds: Double, handled: Int)] = []
    }

    let names: [String]
    private let children: [Child]
    private let counts: Locked<Counts>
    private let clock = Stopwatch()

    private init(_ count: Int, _ setup: Setup, on database: Database) throws {
        let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().path
        let url = try database.settings.connectionString()
        // The rows of workers stay, so a later fleet in the database has other names.
        let names = (1...count).map { _ in "worker-" + UUID().uuidString }
        self.names = names
        children = try names.map { name in
            try Child(
                program,
                [
                    "work", "--database", url, "--name", name, "--batch", "\(setup.batch)", "--lanes", "\(setup.lanes)",
                ])
        }
        counts = Locked(
            Counts(handled: Array(repeating: 0, count: count), last: Array(repeating: nil, count: count)))
    }

    /// Runs workers during the body, then lets them end in good order; what they said comes with the body's value.
    static func with<Value>(
        _ count: Int = 1, _ setup: Setup, on database: Database, _ body: (Fleet) async throws -> Value
    ) async throws -> (value: Value, ending: Ending) {
        let fleet = try Fleet(count, setup, on: database)
        defer { for child in fleet.children { child.kill() } }
        let reading = fleet.children.indices.map { index in Task { await fleet.read(index) } }
        let value = try await body(fleet)
        for child in fleet.children { child.closeInput() }
        for child in fleet.children { try await child.end() }
        for task in reading { await task.value }
        let last = fleet.counts.withLock { $0.last.compactMap(\.self) }
        return (
            value,
            Ending(
                peak: last.compactMap(\.peak).max() ?? 0, processor: last.compactMap(\.processor).reduce(0, +),
                latencies: last.flatMap { $0.latencies ?? [] })
        )
    }

    /// How many jobs they have handled so far.
    var handled: Int { counts.withLock { $0.handled.reduce(0, +) } }

    /// Waits until they have handled so many.
    ///
    /// - Throws: ``Failure`` when nothing at all is handled for half a minute, or after five minutes.
    func wait(for count: Int) async throws {
        var before = -1
        let limit = ContinuousClock.now + .seconds(300)
        var patience = ContinuousClock.now + .seconds(30)
        while handled < count {
            if handled > before {
                before = handled
                patience = .now + .seconds(30)
            }
            guard ContinuousClock.now < min(patience, limit) else {
                throw Failure("the workers are too slow, or stand still: they have handled \(before) of \(count) jobs")
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Jobs handled a second between two moments since they were started.
    func rate(from start: Double, to end: Double) -> Double {
        counts.withLock { counts in
            func nearest(_ moment: Double) -> (seconds: Double, handled: Int)? {
                counts.samples.min { abs($0.seconds - moment) < abs($1.seconds - moment) }
            }
            guard let first = nearest(start), let last = nearest(end), last.seconds > first.seconds else { return 0 }
            return Double(last.handled - first.handled) / (last.seconds - first.seconds)
        }
    }

    /// Seconds since they were started.
    var seconds: Double { clock.seconds }

    private func read(_ index: Int) async {
        for await text in children[index].lines {
            guard let line = try? JSONText(text).decode(Work.Line.self) else { continue }
            let seconds = clock.seconds
            counts.withLock { counts in
                counts.handled[index] = line.handled
                counts.last[index] = line
                counts.samples.append((seconds, counts.handled.reduce(0, +)))
            }
        }
    }
}
