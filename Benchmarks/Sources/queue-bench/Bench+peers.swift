import Foundation
import Postgres

/// Other queues on the same server: what PyPI offers, with handlers that do nothing.
extension Bench {
    /// What a script of a peer prints.
    private struct Line: Decodable {
        var figure: String
        var value: Double
        /// The settings that were best.
        var with: String
    }

    func measurePeers() async throws {
        guard let python else {
            report.note("There is no Python with the peers: they are left out.")
            return
        }
        for line in try await peer("pgqueuer", python, jobs: scaled(100_000), seconds: scaled(seconds: 20)) {
            if line.figure == "drain" { peerDrain = line.value } else { peerSteady = line.value }
            try report.show(Figure("PgQueuer, \(line.figure) (\(line.with))", line.value, "jobs/s"))
        }
        for line in try await peer("procrastinate", python, jobs: scaled(5_000), seconds: scaled(seconds: 10)) {
            try report.show(Figure("Procrastinate, \(line.figure) (\(line.with))", line.value, "jobs/s"))
        }
    }

    private func peer(_ name: String, _ python: String, jobs: Int, seconds: Double) async throws -> [Line] {
        try await server.withDatabase(migrated: false) { database in
            try await Child.run(
                python,
                [file("peers/\(name)_bench.py"), try database.settings.connectionString(), "\(jobs)", "\(seconds)"],
                within: .seconds(240)
            ).map { try JSONText($0).decode(Line.self) }
        }
    }
}
