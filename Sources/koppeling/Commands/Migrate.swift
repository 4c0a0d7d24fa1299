import ArgumentParser
import Postgres

/// `koppeling migrate`: brings the schema up to the files in `sql/`.
struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the schema of the database up to this version of the program.",
        discussion:
            "Safe to run again, and from several machines at once. A schema that was edited, or that is newer than "
            + "this program, is left as it is.")

    @Flag(help: "Only say which files the database has and which it lacks.")
    var status = false

    func run() async throws {
        try await Runtime.with(migrated: false) { runtime in
            let migrator = try Migrator.locate()
            if status {
                let files = try await runtime.pool.withConnection { try await migrator.status($0) }
                for file in files { Console.line("\(file.isApplied ? "applied" : "missing")  \(file.name)") }
                return
            }
            let applied = try await runtime.pool.withConnection { try await migrator.migrate($0) }
            for name in applied { Console.line("applied  \(name)") }
            if applied.isEmpty { Console.line("The database has everything already.") }
        }
    }
}
