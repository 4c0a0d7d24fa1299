import Foundation
import Postgres

/// One figure, with what it is held against.
struct Figure: Encodable {
    /// Which way is good.
    enum Direction {
        case atLeast
        case under
    }

    var bench = "queue"
    var figure: String
    var value: Double
    var unit: String
    /// The value as a share or a multiple of another figure, which `of` names.
    var ratio: Double?
    var of: String?
    /// What the ratio must reach, or the value when there is no ratio.
    var aim: Double?
    var met: Bool?

    init(
        _ figure: String, _ value: Double, _ unit: String, of base: (name: String, value: Double)? = nil,
        aim: Double? = nil, _ direction: Direction = .atLeast
    ) {
        self.figure = figure
        self.value = value.readable
        self.unit = unit
        of = base?.name
        ratio = base.map { (value / $0.value * 100).rounded() / 100 }
        self.aim = aim
        met = aim.map { aim in
            let judged = base.map { value / $0.value } ?? value
            return direction == .atLeast ? judged >= aim : judged < aim
        }
    }

    /// A line of the table.
    var row: String {
        var line = figure.padded(to: 52) + "\(value.plain) \(unit)".padded(to: 22)
        if let ratio, let of { line += "\(ratio) of \(of)".padded(to: 34) }
        if let aim, let met { line += "aim \(aim.plain): \(met ? "met" : "MISSED")" }
        return line
    }
}

/// Where figures go: one object a line, or a table.
struct Report {
    let json: Bool

    func show(_ figure: Figure) throws {
        Console.line(json ? try JSONText(encoding: figure).text : figure.row)
    }

    /// What a reader of the figures should know; not on stdout, which belongs to the figures.
    func note(_ text: String) {
        Console.error(text)
    }
}

/// The terminal.
enum Console {
    static func line(_ text: String) {
        FileHandle.standardOutput.write(Data((text + "\n").utf8))
    }

    static func error(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }
}

extension Double {
    /// No more digits than mean something.
    fileprivate var readable: Double {
        magnitude >= 100 ? rounded() : (self * 100).rounded() / 100
    }

    fileprivate var plain: String {
        self == rounded() && magnitude < 1e15 ? String(Int64(self)) : String(self)
    }
}

extension String {
    fileprivate func padded(to width: Int) -> String {
        self + String(repeating: " ", count: Swift.max(1, width - count))
    }
}
