import ArgumentParser
import Postgres

/// `koppeling person export`: all that is held on a person.
struct PersonExport: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Print all that is held on a person, as JSON.")

    @OptionGroup var person: PersonArguments

    func run() async throws {
        try await person.with { runtime in
            let held: String = try await runtime.pool.query(
                "select jsonb_pretty(koppeling.export_person(\(person.source)::text, \(person.id)::text))"
            ).scalar()
            Console.line(held)
        }
    }
}
