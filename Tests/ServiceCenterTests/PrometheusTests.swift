import Metrics
import Testing

@testable import ServiceCenter

@Suite("Figures for Prometheus")
struct PrometheusTests {
    private func text(of registry: PrometheusRegistry) -> String {
        var text = Exposition()
        registry.write(to: &text)
        return text.text
    }

    @Test func countersOfOneNameAreOneFamily() {
        let registry = PrometheusRegistry()
        Counter(label: "jobs.done", dimensions: [("queue", "b")], factory: registry).increment(by: 2)
        Counter(label: "jobs.done", dimensions: [("queue", "a")], factory: registry).increment()
        Counter(label: "jobs.done", dimensions: [("queue", "a")], factory: registry).increment()
        #expect(
            text(of: registry) == """
                # TYPE jobs_done_total counter
                jobs_done_total{queue="a"} 2
                jobs_done_total{queue="b"} 2

                """)
    }

    @Test func valuesOfLabelsAreQuoted() {
        let registry = PrometheusRegistry()
        Counter(label: "c", dimensions: [("na-me", "a\"b\\c\nd")], factory: registry).increment()
        #expect(text(of: registry).contains(#"c_total{na_me="a\"b\\c\nd"} 1"#))
    }

    @Test func timersAreHistogramsOfSeconds() {
        let registry = PrometheusRegistry()
        let timer = Metrics.Timer(label: "call", factory: registry)
        timer.recordMilliseconds(3)
        timer.recordSeconds(300)
        let text = text(of: registry)
        #expect(text.contains("# TYPE call_seconds histogram\n"))
        #expect(text.contains("call_seconds_bucket{le=\"0.0025\"} 0\n"))
        #expect(text.contains("call_seconds_bucket{le=\"0.005\"} 1\n"))
        #expect(text.contains("call_seconds_bucket{le=\"120\"} 1\n"))
        #expect(text.contains("call_seconds_bucket{le=\"+Inf\"} 2\n"))
        #expect(text.contains("call_seconds_sum 300.003\n"))
        #expect(text.contains("call_seconds_count 2\n"))
    }

    @Test func aRecorderIsASummaryAndAMeterAGauge() {
        let registry = PrometheusRegistry()
        Recorder(label: "size", factory: registry).record(4)
        Recorder(label: "size", factory: registry).record(5)
        let meter = Meter(label: "open", factory: registry)
        meter.set(7)
        meter.decrement(by: 2)
        let text = text(of: registry)
        #expect(text.contains("# TYPE size summary\nsize_sum 9\nsize_count 2\n"))
        #expect(text.contains("# TYPE open gauge\nopen 5\n"))
    }

    @Test func whatIsDestroyedIsGone() {
        let registry = PrometheusRegistry()
        let counter = Counter(label: "c", factory: registry)
        counter.increment()
        counter.destroy()
        #expect(text(of: registry).isEmpty)
    }

    @Test(arguments: [
        (0.5, "0.5"), (3, "3"), (.infinity, "+Inf"), (-.infinity, "-Inf"), (.nan, "NaN"), (1e300, "1e+300"),
    ])
    func numbersAreWrittenAsPrometheusReadsThem(value: Double, text: String) {
        #expect(Exposition.number(value) == text)
    }
}
