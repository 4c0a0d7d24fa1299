public import CoreMetrics
import IO

/// The figures of this process, kept in memory and written in the text format of Prometheus.
///
/// Counters end in `_total`; timers become histograms of seconds; recorders that aggregate become summaries without
/// quantiles, others gauges. Labels in dotted style become names with underscores.
public final class PrometheusRegistry: MetricsFactory {
    private let series = Locked<[SeriesID: any Series]>([:])

    /// A registry without figures.
    public init() {}

    /// All figures, as Prometheus reads them.
    public var text: String {
        var text = Exposition()
        write(to: &text)
        return text.text
    }

    /// All figures, in the order of their names.
    func write(to text: inout Exposition) {
        let all = series.withLock { $0 }.sorted { $0.key < $1.key }
        var family: SeriesID?
        for (id, series) in all {
            if family?.name != id.name {
                text.family(id.name, id.kind.rawValue)
                family = id
            }
            series.write(id, to: &text)
        }
    }

    /// The figure's series, which is made when it is asked for the first time.
    private func find<S: Series>(
        _ kind: SeriesID.Kind, _ label: String, suffix: String = "", _ dimensions: [(String, String)], make: () -> S
    ) -> S {
        let id = SeriesID(name: Exposition.name(label, suffix: suffix), kind: kind, dimensions: dimensions)
        let made = make()
        return series.withLock { series in
            if let found = series[id] as? S { return found }
            series[id] = made
            return made
        }
    }

    private func forget(_ handler: AnyObject) {
        series.withLock { series in
            if let id = series.first(where: { $0.value === handler })?.key { series[id] = nil }
        }
    }
}

// What swift-metrics asks of a factory.
extension PrometheusRegistry {
    /// The counter of this name.
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        find(.counter, label, suffix: "_total", dimensions, make: CounterSeries.init)
    }

    /// The counter of this name, for fractions.
    public func makeFloatingPointCounter(
        label: String, dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        find(.counter, label, suffix: "_total", dimensions, make: CounterSeries.init)
    }

    /// The gauge of this name.
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        find(.gauge, label, dimensions, make: GaugeSeries.init)
    }

    /// The summary of this name, or the gauge when only the last value counts.
    public func makeRecorder(
        label: String, dimensions: [(String, String)], aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return find(.gauge, label, dimensions, make: GaugeSeries.init) }
        return find(.summary, label, dimensions, make: SummarySeries.init)
    }

    /// The histogram of this name, in seconds.
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        find(.histogram, label, suffix: "_seconds", dimensions, make: HistogramSeries.init)
    }

    /// Drops the counter.
    public func destroyCounter(_ handler: any CounterHandler) { forget(handler) }

    /// Drops the counter.
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { forget(handler) }

    /// Drops the gauge.
    public func destroyMeter(_ handler: any MeterHandler) { forget(handler) }

    /// Drops the summary or gauge.
    public func destroyRecorder(_ handler: any RecorderHandler) { forget(handler) }

    /// Drops the histogram.
    public func destroyTimer(_ handler: any TimerHandler) { forget(handler) }
}
