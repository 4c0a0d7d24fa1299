import FoundationEssentials
import IO

/// One numbered file of the schema: `0001_foundation.sql`.
struct MigrationFile: Sendable {
    let version: Int32
    let name: String
    let sql: String
    /// The newest file of the oldest program that works with the schema once it has this one; 0 for any.
    let oldestProgram: Int32

    /// What begins the line of a file that says so.
    static let oldestProgramMark = "-- oldest-program:"

    /// The migration files of a folder, in order; other files do not matter.
    static func read(_ directory: String) async throws(PostgresError) -> [MigrationFile] {
        try await blocking { () throws(PostgresError) in
            var files: [MigrationFile] = []
            for name in try names(directory) {
                guard let version = version(of: name) else { continue }
                let sql = try text(directory + "/" + name)
                let oldest = try oldestProgram(of: sql, name, version)
                files.append(MigrationFile(version: version, name: name, sql: sql, oldestProgram: oldest))
            }
            files.sort { $0.version < $1.version }
            for (file, next) in zip(files, files.dropFirst()) where file.version == next.version {
                throw PostgresError(
                    .schema, "\(file.name) and \(next.name) have the same number: renumber the newer one")
            }
            return files
        }
    }

    private static func names(_ directory: String) throws(PostgresError) -> [String] {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
            throw PostgresError(
                .schema, "the folder \(directory) of the SQL files cannot be read: set KOPPELING_SQL to where it is")
        }
        return names
    }

    private static func text(_ path: String) throws(PostgresError) -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw PostgresError(.schema, "\(path) cannot be read")
        }
        return String(decoding: data, as: UTF8.self)
    }

    private static func oldestProgram(
        of sql: String, _ name: String, _ version: Int32
    ) throws(PostgresError) -> Int32 {
        guard let line = sql.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix(oldestProgramMark) })
        else { return 0 }
        let number = line.dropFirst(oldestProgramMark.count).drop { $0 == " " }
        guard let oldest = Int32(number), (0...version).contains(oldest) else {
            throw PostgresError(
                .schema, "\(name): write a file's number, up to its own, behind \"\(oldestProgramMark)\"")
        }
        return oldest
    }

    /// The number of a name of four digits, an underscore and `.sql` at the end.
    private static func version(of name: String) -> Int32? {
        let digits = name.prefix(4)
        guard digits.utf8.count == 4, digits.utf8.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "9")).contains),
            name.dropFirst(4).first == "_", name.hasSuffix(".sql")
        else { return nil }
        return Int32(digits)
    }
}
