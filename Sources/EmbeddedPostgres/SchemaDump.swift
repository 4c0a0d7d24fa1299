import FoundationEssentials
import IO
public import Postgres

extension ServerPrograms {
    /// The schema of a database as SQL, in a form that is the same for the same schema and version of PostgreSQL.
    ///
    /// What `pg_dump` writes about itself is left out, and so are its settings, and partitions of days, which come and go.
    public func dumpSchema(of settings: ConnectionSettings) async throws -> String {
        let file = "/tmp/koppeling-schema-\(UUID().uuidString)"
        defer {
            for name in [file, file + ".log"] { try? FileManager.default.removeItem(atPath: name) }
        }
        let command = [
            path("pg_dump"), "--schema-only", "--no-owner", "--exclude-table", "*.*_" + Self.date, "--file", file,
            "--dbname", try settings.connectionString(),
        ]
        guard try await ChildProcess.run(command, log: file + ".log") == 0 else {
            let log = FileManager.default.contents(atPath: file + ".log") ?? Data()
            throw EmbeddedPostgresError(.failed, "pg_dump failed: \(String(decoding: log, as: UTF8.self))")
        }
        let dump = await blocking { FileManager.default.contents(atPath: file) ?? Data() }
        return Self.normalised(String(decoding: dump, as: UTF8.self))
    }

    /// A day such as 20261231 in the name of a table, as `pg_dump` matches it.
    private static let date = String(repeating: "[0-9]", count: 8)

    private static func normalised(_ dump: String) -> String {
        var lines: [Substring] = []
        for line in dump.split(separator: "\n", omittingEmptySubsequences: false) {
            let isNoise =
                line.hasPrefix("--") || line.hasPrefix("SET ") || line.hasPrefix("\\")
                || line.hasPrefix("SELECT pg_catalog.set_config(")
            if isNoise || line.isEmpty && lines.last?.isEmpty ?? true { continue }
            lines.append(line)
        }
        return lines.joined(separator: "\n").trimmingNewlines() + "\n"
    }
}

extension String {
    fileprivate func trimmingNewlines() -> Substring {
        var rest = self[...]
        while rest.last?.isNewline == true { rest.removeLast() }
        return rest
    }
}
