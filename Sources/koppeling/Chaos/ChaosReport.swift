import FoundationEssentials
import Postgres

/// What was broken how often, and what became of the jobs.
struct ChaosReport: Sendable {
    var chaos = "queue"
    var broken: [(name: String, count: Int)] = []
    var findings: [Ledger.Finding] = []
    /// What went wrong beside the figures.
    var complaints: [String] = []

    /// Whether everything was broken at least once, and nothing was lost.
    var isGood: Bool {
        complaints.isEmpty && broken.allSatisfy { $0.count > 0 } && findings.allSatisfy { !$0.isFault || $0.count == 0 }
    }

    private struct Line: Encodable {
        var chaos: String
        var part: String
        var figure: String
        var value: Int64
        var isGood: Bool
    }

    /// Prints it as a table, or as a JSON object a line.
    func show(json: Bool) {
        var lines = broken.map {
            Line(chaos: chaos, part: "broken", figure: $0.name, value: Int64($0.count), isGood: $0.count > 0)
        }
        lines += findings.map {
            Line(
                chaos: chaos, part: $0.isFault ? "must be none" : "found", figure: $0.name, value: $0.count,
                isGood: !$0.isFault || $0.count == 0)
        }
        lines += complaints.map { Line(chaos: chaos, part: "complaint", figure: $0, value: 1, isGood: false) }
        var part = ""
        for line in lines {
            if json {
                if let object = try? JSONText(encoding: line) { Console.line(object.text) }
                continue
            }
            if line.part != part { Console.line("\(part.isEmpty ? "" : "\n")\(line.part)") }
            part = line.part
            let name = line.figure + String(repeating: " ", count: max(1, 64 - line.figure.count))
            Console.line("  \(name)\(line.value)\(line.isGood ? "" : "  FAILED")")
        }
    }
}
