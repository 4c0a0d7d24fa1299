import FoundationEssentials
import TestSupport
import Testing

/// Random lives of the queue against a model of it that knows the rules and nothing else.
///
/// `KOPPELING_SEQUENCES` says how many lives; a failed one names the seed with which it is lived again, alone.
@Suite("Random sequences of operations")
struct ModelTests {
    private static let streams = 2
    private static let length = 40

    @Test("leave the queue as the rules say", .database, arguments: 0..<streams)
    func sequences(stream: Int) async throws {
        let given = ProcessInfo.processInfo.environment["KOPPELING_SEQUENCES"].flatMap { Int($0) }
        let seed = Seed("sequences \(stream)")
        let queue = try await QueueUnderTest.connect()
        for number in stride(from: stream, to: given ?? 2000, by: Self.streams) {
            var lived = Seed(seed: seed.seed &+ UInt64(number))
            let operations = lived.operations(Self.length)
            let failure = try await Replay.run(
                operations, on: queue, comparing: false, thoroughly: number / Self.streams % 50 == 0)
            guard let failure else { continue }
            let (shortest, what) = try await shortened(operations, failure.what, on: queue)
            Issue.record(
                """
                sequence \(number) fails: live it again with KOPPELING_SEED=\(lived.seed) KOPPELING_SEQUENCES=1
                \(shortest.map { "  \($0)".replacing("JobQueueTests.QueueModel.", with: "") }.joined(separator: "\n"))
                  \(what)
                """)
            return
        }
    }

    /// Takes out whatever is not needed for the failure.
    private func shortened(
        _ operations: [Operation], _ found: String, on queue: QueueUnderTest
    ) async throws -> (operations: [Operation], what: String) {
        guard let first = try await Replay.run(operations, on: queue, comparing: true) else {
            return (operations, found + " (but not when every step is compared)")
        }
        var shortest = Array(operations.prefix(first.step + 1))
        var what = first.what
        var place = shortest.count - 1
        while place >= 0 {
            var without = shortest
            without.remove(at: place)
            if let failure = try await Replay.run(without, on: queue, comparing: true) {
                shortest = Array(without.prefix(failure.step + 1))
                what = failure.what
            }
            place = min(place, shortest.count) - 1
        }
        return (shortest, what)
    }
}
