import Foundation
import IO

/// The worker processes of the fault test; whoever dies is replaced.
final class Crew: Sendable {
    private let program: Program
    private let folder: String
    private let members: Locked<[Program.Worker]>
    private let hired: Locked<Int>

    private let command: String

    init(size: Int, command: String = "chaos-worker", program: Program, folder: String) throws {
        self.command = command
        self.program = program
        self.folder = folder
        hired = Locked(size)
        members = Locked(try (0..<size).map { try Self.hire($0, command, program, folder) })
    }

    private static func hire(_ number: Int, _ command: String, _ program: Program, _ folder: String) throws
        -> Program.Worker
    {
        try program.startWorker([command, "worker-\(number)"], log: "\(folder)/worker-\(number % 8).log")
    }

    /// Sends a random worker a signal; false when it has just ended.
    @discardableResult
    func signal(_ signal: Int32) -> Program.Worker? {
        guard let victim = members.withLock({ $0.randomElement() }), victim.process.isRunning else { return nil }
        kill(victim.process.processIdentifier, signal)
        return victim
    }

    /// Puts new workers in the place of those that have ended.
    func replaceDead() {
        members.withLock { members in
            for place in members.indices where !members[place].process.isRunning {
                let number = hired.withLock { number in
                    number += 1
                    return number
                }
                if let worker = try? Self.hire(number, command, program, folder) { members[place] = worker }
            }
        }
    }

    /// The ends of the workers' logs.
    func lastLines() -> [String] {
        members.withLock { members in members.map { "\($0.log):\n" + $0.lastLines() } }
    }

    /// Ends all of them.
    func end() {
        for worker in members.withLock({ $0 }) {
            if worker.process.isRunning { worker.kill() }
            worker.stop()
        }
    }
}
