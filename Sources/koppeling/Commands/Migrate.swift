import ArgumentParser
import Postgres

/// `koppeling migrate`: brings the schema up to the files in `sql/`.
struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring the schema of the database up to this version of the program.",
        discussion:
            "Safe to run again, from several machines at once, and while workers run. A schema that was edited is left "
            + "as it is, and so is one that a newer program has migrated.")

    @Flag(help: "Only say which files the database has and which it lacks.")
    var status = false

    func run() async throws {
        try await Runtime.with(migrated: false) { runtime in
            let migrator = try Migrator.locate()
            let connection = try await Connection.connect(runtime.direct)
            let applied = status ? [] : try await migrator.migrate(connection)
            let files = try await migrator.status(connection)
            guard !status else {
                for file in files {
                    Console.line("\(file.isNewer ? "newer  " : file.isApplied ? "applied" : "missing")  \(file.name)")
                }
                return
            }
            for name in applied { Console.line("applied  \(name)") }
            if applied.isEmpty { Console.line("The database has everything already.") }
            let newer = files.filter(\.isNewer).map(\.name)
            if !newer.isEmpty {
                Console.line("A newer program has added \(newer.joined(separator: ", ")); this one works beside it.")
            }
        }
    }
}
