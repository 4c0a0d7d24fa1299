import Foundation
import Postgres

/// Prints what a benchmark measured, as a table or as one JSON object a line.
struct Figures: Sendable {
    /// One figure, with what it is held against.
    private struct Figure: Encodable {
        var bench: String
        var figure: String
        var value: Double
        var unit: String
        var ratio: Double?
        var of: String?
        var aim: Double?
        var met: Bool?
    }

    let bench: String
    let json: Bool

    /// A figure, with the most or the least that it should be.
    func callAsFunction(
        _ name: String, _ value: Double, _ unit: String, atMost most: Double? = nil, atLeast least: Double? = nil
    ) {
        print(
            Figure(
                bench: bench, figure: name, value: value, unit: unit, aim: most ?? least,
                met: most.map { value <= $0 } ?? least.map { value >= $0 }))
    }

    /// A figure that is held against another one: their ratio should be at most the aim.
    func callAsFunction(
        _ name: String, _ value: Double, _ unit: String, of reference: String, _ other: Double, atMost aim: Double
    ) {
        let ratio = value / other
        print(
            Figure(
                bench: bench, figure: name, value: value, unit: unit, ratio: ratio,
                of: "\(reference), \(Self.rounded(other)) \(unit)", aim: aim, met: ratio <= aim))
    }

    private func print(_ figure: Figure) {
        var figure = figure
        figure.value = Self.rounded(figure.value)
        figure.ratio = figure.ratio.map(Self.rounded)
        if json {
            if let line = try? JSONText(encoding: figure) { Console.line(line.text) }
            return
        }
        var line = figure.figure.padding(toLength: max(56, figure.figure.count + 1), withPad: " ", startingAt: 0)
        line += "\(figure.value) \(figure.unit)"
        if let ratio = figure.ratio, let of = figure.of { line += ", \(ratio) of \(of)" }
        if let aim = figure.aim { line += "; aim \(aim): \(figure.met == true ? "met" : "missed")" }
        Console.line(line)
    }

    private static func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}
