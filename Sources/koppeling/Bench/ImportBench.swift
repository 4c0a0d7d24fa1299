import Foundation
import IO
import Postgres
import TargetGroups

/// What an import of persons costs, beside a bare COPY of the same columns into tables with the same indexes and nothing
/// else: no checks, no references, no cleaning.
struct ImportBench: Sendable {
    /// Of connections without a limit of time.
    let pool: Pool
    /// A folder of this program's own.
    let folder: String
    let persons: Int
    let show: Figures

    /// The tables that an import fills, with the columns that come out of a file.
    private static let tables = [
        ("person", "id, source, external_id, given_name, prefixes, family_name, gender"),
        ("email_address", "person_id, kind, address"),
        ("person_category", "person_id, category_id"),
        ("position", "person_id, job_function_id, department_id, company_id"),
    ]

    func run() async throws {
        let file = folder + "/persons.csv"
        try await write(file)
        let ours = try await seconds {
            let report = try await FileImport(path: file, source: "bench").run(in: pool)
            guard report.created == persons else { throw Failure("\(report.created) of \(persons) were imported") }
        }
        let peer = try await copies()
        show("persons imported from CSV", Double(persons) / ours, "1/s")
        show("import of \(persons) persons from CSV", ours, "s", of: "a bare COPY", peer, atMost: 2)
    }

    private func write(_ path: String) async throws {
        let file = try await FileWriter.create(path)
        try await file.write(
            "id,given_name,prefixes,family_name,gender,email_zakelijk,categories,function,department,company\n".utf8)
        for number in 1...persons {
            let line = """
                \(number),Anna,\(number % 3 == 0 ? "van der" : ""),Berg \(number),\(number % 2 == 0 ? "vrouw" : "man"),\
                anna.berg.\(number)@voorbeeld.nl,\
                Soort / \(number % 200); Soort / \((number * 7 + 1) % 200); Soort / \((number * 13 + 2) % 200),\
                Functie \(number % 60),Afdeling \(number % 40),\(number * 31 % 20_000)

                """
            try await file.write(line.utf8)
        }
        try await file.finish()
    }

    /// The seconds that COPY takes for what the import wrote.
    private func copies() async throws -> Double {
        var total = 0.0
        try await pool.script(
            """
            create schema peer;
            create table peer.person (like koppeling.person including defaults including identity including indexes);
            create table peer.email_address (
                like koppeling.email_address including defaults including identity including indexes including generated);
            create table peer.person_category (like koppeling.person_category including indexes);
            create table peer.position (
                like koppeling.position including defaults including identity including indexes);
            """)
        for (table, columns) in Self.tables {
            let path = "\(folder)/\(table).copy"
            let file = try await FileWriter.create(path)
            try await pool.withConnection { connection in
                try await connection.copyOut("copy koppeling.\(table) (\(columns)) to stdout") { piece in
                    try await file.write(piece)
                }
                try await file.finish()
                total += try await seconds {
                    let rows = try await FileReader.open(path)
                    try await connection.copyIn("copy peer.\(table) (\(columns)) from stdin") { writer in
                        while case let piece = try await rows.next(), !piece.isEmpty { try await writer.write(piece) }
                    }
                }
            }
        }
        return total
    }
}
