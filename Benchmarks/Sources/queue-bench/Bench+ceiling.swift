import EmbeddedPostgres
import Foundation
import Postgres

/// What raw SQL does in this server, without a worker: pgbench, 4 clients, batches of 500.
extension Bench {
    /// How much faster than PgQueuer the ceiling must be to be one.
    private static var height: Double { 3.3 }

    func measureCeiling() async throws {
        let drain = try await median { try await ceilingDrain("d") }
        ceilingDrain = drain
        try report.show(Figure("ceiling at 500, drain", drain, "jobs/s"))
        if let peerDrain {
            try show("ceiling against PgQueuer", drain, of: "PgQueuer's drain", peerDrain, aim: Self.height)
            if drain < Self.height * peerDrain { report.note("This is no ceiling: mistrust the ratios to it.") }
        }
        let steady = try await server.withDatabase(migrated: false) { database in
            try await database.run(file: file("ceiling/d.setup.sql"))
            try await database.pool.query("select fill(10000)")
            try await database.settle()
            let seconds = Int(scaled(seconds: 25))
            return 500 * (try await pgbench("d.steady", ["-T", "\(seconds)"], database))
        }
        ceilingSteady = steady
        try report.show(Figure("ceiling at 500, in and out", steady, "jobs/s"))
    }

    /// All designs, to see that the ceiling is the fastest.
    func measureDesigns() async throws {
        for design in ["b", "c", "d", "e"] {
            try report.show(Figure("design \(design.uppercased()) at 500", try await ceilingDrain(design), "jobs/s"))
        }
    }

    private func ceilingDrain(_ design: String) async throws -> Double {
        let jobs = scaled(500_000)
        return try await server.withDatabase(migrated: false) { database in
            try await database.run(file: file("ceiling/\(design).setup.sql"))
            try await database.pool.query("select fill(\(Int32(jobs))::int)")
            try await database.settle()
            return 500 * (try await pgbench("\(design).drain", ["-t", "\(jobs / 500 / 4)"], database))
        }
    }

    /// Transactions a second.
    private func pgbench(_ script: String, _ length: [String], _ database: Database) async throws -> Double {
        let lines = try await Child.run(
            server.programs.path("pgbench"),
            ["-n", "-M", "prepared", "-c", "4", "-j", "2", "-D", "ids={}", "-f", file("ceiling/\(script).sql")] + length
                + [try database.settings.connectionString()], within: .seconds(120))
        let line = lines.first { $0.hasPrefix("tps = ") }
        guard let rate = line?.split(separator: " ").compactMap({ Double($0) }).first else {
            throw Failure("pgbench says no rate: \(lines)")
        }
        return rate
    }
}
