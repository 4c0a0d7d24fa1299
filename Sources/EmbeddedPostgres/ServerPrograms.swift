import FoundationEssentials

/// Where PostgreSQL's own programs are.
///
/// Debian keeps `initdb` and `postgres` out of the PATH, in a folder per version.
public struct ServerPrograms: Sendable, Hashable {
    /// The folder of `initdb`, `postgres` and `pg_dump`.
    public let folder: String

    /// The path of one of the programs.
    public func path(_ program: String) -> String { folder + "/" + program }

    /// Finds the programs: of the version that made the data if there are any, else on the PATH, else the newest of Debian's.
    public static func find(version: Int? = nil) throws(EmbeddedPostgresError) -> ServerPrograms {
        let versioned = versionedFolders()
        let preferred = version.map { wanted in versioned.filter { $0.version == wanted } } ?? []
        let candidates = preferred.map(\.folder) + pathFolders() + versioned.map(\.folder)
        guard let folder = candidates.first(where: isComplete) else {
            throw EmbeddedPostgresError(
                .programsMissing,
                "PostgreSQL is not installed (no initdb and postgres on the PATH or in /usr/lib/postgresql): "
                    + "apt install postgresql, or set DATABASE_URL to a server elsewhere")
        }
        return ServerPrograms(folder: folder)
    }

    private static func isComplete(_ folder: String) -> Bool {
        ["initdb", "postgres"].allSatisfy { FileManager.default.isExecutableFile(atPath: folder + "/" + $0) }
    }

    /// Folders of the PATH with an `initdb`; a link there leads to the folder that also has what `initdb` needs.
    private static func pathFolders() -> [String] {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return path.split(separator: ":").map { "\($0)/initdb" }
            .filter { FileManager.default.isExecutableFile(atPath: $0) }
            .map { URL(filePath: $0).resolvingSymlinksInPath().deletingLastPathComponent().path }
    }

    private static func versionedFolders() -> [(version: Int, folder: String)] {
        let base = "/usr/lib/postgresql"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []
        return names.compactMap { name in Int(name).map { (version: $0, folder: "\(base)/\(name)/bin") } }
            .sorted { $0.version > $1.version }
    }
}
