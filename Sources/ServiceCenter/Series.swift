import CoreMetrics
import IO

/// What tells one series from another: its name, its kind and its labels.
struct SeriesID: Hashable, Comparable, Sendable {
    enum Kind: String, Sendable {
        case counter
        case gauge
        case summary
        case histogram
    }

    var name: String
    var kind: Kind
    /// The labels as Prometheus writes them, without braces.
    var labels: String

    init(name: String, kind: Kind, dimensions: [(String, String)]) {
        self.name = name
        self.kind = kind
        labels = Exposition.labels(dimensions)
    }

    static func < (one: SeriesID, other: SeriesID) -> Bool {
        (one.name, one.labels) < (other.name, other.labels)
    }
}

/// The values of one figure with one set of labels.
protocol Series: AnyObject, Sendable {
    func write(_ id: SeriesID, to text: inout Exposition)
}

/// A value that only grows.
final class CounterSeries: Series, CounterHandler, FloatingPointCounterHandler {
    private let value = Locked(0.0)

    func increment(by amount: Int64) {
        increment(by: Double(amount))
    }

    func increment(by amount: Double) {
        value.withLock { $0 += amount }
    }

    func reset() {
        value.withLock { $0 = 0 }
    }

    func write(_ id: SeriesID, to text: inout Exposition) {
        text.sample(id.name, id.labels, value.withLock { $0 })
    }
}

/// A value that goes up and down.
final class GaugeSeries: Series, MeterHandler, RecorderHandler {
    private let value = Locked(0.0)

    func set(_ new: Int64) {
        set(Double(new))
    }

    func set(_ new: Double) {
        value.withLock { $0 = new }
    }

    func increment(by amount: Double) {
        value.withLock { $0 += amount }
    }

    func decrement(by amount: Double) {
        value.withLock { $0 -= amount }
    }

    func record(_ new: Int64) {
        set(Double(new))
    }

    func record(_ new: Double) {
        set(new)
    }

    func write(_ id: SeriesID, to text: inout Exposition) {
        text.sample(id.name, id.labels, value.withLock { $0 })
    }
}

/// How many values there were, and their sum.
final class SummarySeries: Series, RecorderHandler {
    private let values = Locked((count: 0.0, sum: 0.0))

    func record(_ value: Int64) {
        record(Double(value))
    }

    func record(_ value: Double) {
        values.withLock {
            $0.count += 1
            $0.sum += value
        }
    }

    func write(_ id: SeriesID, to text: inout Exposition) {
        let values = values.withLock { $0 }
        text.sample(id.name + "_sum", id.labels, values.sum)
        text.sample(id.name + "_count", id.labels, values.count)
    }
}

/// Durations in seconds, by how long they took.
final class HistogramSeries: Series, TimerHandler {
    /// From a statement on an idle database, over a call that was given up, to a job that waited for hours.
    static let bounds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600, 3_600, 21_600,
    ]

    private struct Values {
        /// How many fell at or under each bound and over the one before; the last are over all bounds.
        var counts = [Double](repeating: 0, count: bounds.count + 1)
        var sum = 0.0
    }

    private let values = Locked(Values())

    func recordNanoseconds(_ duration: Int64) {
        let seconds = Double(duration) / 1e9
        let index = Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count
        values.withLock {
            $0.counts[index] += 1
            $0.sum += seconds
        }
    }

    func write(_ id: SeriesID, to text: inout Exposition) {
        let values = values.withLock { $0 }
        var running = 0.0
        for (index, count) in values.counts.enumerated() {
            running += count
            let bound = index < Self.bounds.count ? Exposition.number(Self.bounds[index]) : "+Inf"
            let labels = id.labels + (id.labels.isEmpty ? "" : ",") + Exposition.labels([("le", bound)])
            text.sample(id.name + "_bucket", labels, running)
        }
        text.sample(id.name + "_sum", id.labels, values.sum)
        text.sample(id.name + "_count", id.labels, running)
    }
}
