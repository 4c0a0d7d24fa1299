import FoundationEssentials

extension Migrator {
    /// The migrator of the SQL files that belong to this program.
    ///
    /// They are where the setting `KOPPELING_SQL` says, else in `sql` or `share/koppeling/sql` beside the program or above it, else
    /// in the checkout that the program was built from.
    public static func locate() throws(PostgresError) -> Migrator {
        Migrator(directory: try locateDirectory())
    }

    private static func locateDirectory() throws(PostgresError) -> String {
        if let setting = ProcessInfo.processInfo.environment["KOPPELING_SQL"], !setting.isEmpty {
            guard isDirectory(setting) else {
                throw PostgresError(.usage, "KOPPELING_SQL is \(setting), which is not a folder")
            }
            return setting
        }
        let candidates = besideProgram() + [checkout()]
        guard let found = candidates.first(where: isDirectory) else {
            throw PostgresError(.usage, "the SQL files were not found: set KOPPELING_SQL to their folder")
        }
        return found
    }

    private static func besideProgram() -> [String] {
        guard let program = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
            return []
        }
        let folder = URL(filePath: program).deletingLastPathComponent()
        return [folder, folder.deletingLastPathComponent()].flatMap { base in
            ["sql", "share/koppeling/sql"].map { base.appending(path: $0).path }
        }
    }

    private static func checkout() -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "sql").path
    }

    private static func isDirectory(_ path: String) -> Bool {
        var isDirectory = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory
    }
}
