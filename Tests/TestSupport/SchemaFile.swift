import EmbeddedPostgres
import FoundationEssentials
import Postgres
public import Testing

/// Compares the schema of the test's database with `sql/schema.sql`, so that a change of the schema can be read in one place.
///
/// With `KOPPELING_WRITE_SCHEMA=1` in the environment it writes the file instead.
public func expectSchemaFile(at location: SourceLocation = #_sourceLocation) async throws {
    let path = try Migrator.locate().directory + "/schema.sql"
    let settings = TestDatabase.current.settings
    let connection = try await Connection.connect(settings)
    let title =
        "-- The schema that the numbered files make, as PostgreSQL \(connection.serverVersion / 10_000) dumps it.\n\n"
    let schema = try await ServerPrograms.find().dumpSchema(of: settings)
    if ProcessInfo.processInfo.environment["KOPPELING_WRITE_SCHEMA"] == "1" {
        try Data((title + schema).utf8).write(to: URL(filePath: path))
        return
    }
    let advice = "run the test with KOPPELING_WRITE_SCHEMA=1 to write it, and look at what changed"
    guard let file = FileManager.default.contents(atPath: path).map({ String(decoding: $0, as: UTF8.self) }) else {
        Issue.record("sql/schema.sql is missing: \(advice)", sourceLocation: location)
        return
    }
    // Each major version dumps a little differently, so a file of another version says nothing.
    guard file.hasPrefix(title) else {
        Issue.record(
            "sql/schema.sql was written with another version of PostgreSQL and is not compared", severity: .warning,
            sourceLocation: location)
        return
    }
    guard file != title + schema else { return }
    let lines = zip(file.split(separator: "\n"), (title + schema).split(separator: "\n"))
    let difference = lines.first { $0 != $1 }
    Issue.record(
        """
        sql/schema.sql is not the schema that the numbered files make: \(advice).
        The file says \(difference?.0 ?? "less"), the database \(difference?.1 ?? "more or less")
        """, sourceLocation: location)
}
