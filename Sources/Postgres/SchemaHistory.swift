/// What was applied to a database, and whether it agrees with the files at hand.
struct SchemaHistory {
    struct Entry: Sendable {
        let version: Int32
        let name: String
        let checksum: String
        let oldestProgram: Int32
    }

    private let entries: [Entry]

    init(_ entries: [Entry]) {
        self.entries = entries
    }

    /// What programs newer than these files have applied, by name.
    func newer(than files: [MigrationFile]) -> [String] {
        let newest = files.last?.version ?? 0
        return entries.filter { $0.version > newest }.map(\.name)
    }

    /// Throws, by the name of the file, when the database holds anything that does not go with the files.
    ///
    /// What a newer program has applied goes with them unless it says otherwise: two releases run side by side while one
    /// takes over from the other.
    func verify(_ files: [(file: MigrationFile, checksum: String)], in directory: String) throws(PostgresError) {
        let newest = files.last?.file.version ?? 0
        if let breaking = entries.last(where: { $0.oldestProgram > newest }) {
            throw PostgresError(
                .schema,
                """
                the database is newer than this program: \(breaking.name) leaves nothing for one that ends before file \
                \(breaking.oldestProgram); install the newer version
                """)
        }
        for entry in entries where entry.version <= newest {
            guard let match = files.first(where: { $0.file.version == entry.version }) else {
                throw PostgresError(
                    .schema,
                    "\(entry.name) was applied to the database but is missing from \(directory): put the file back")
            }
            guard match.file.name == entry.name, match.checksum == entry.checksum else {
                throw PostgresError(
                    .schema,
                    """
                    \(match.file.name) was changed after it was applied (as \(entry.name)): \
                    undo the change and make it in a new file
                    """)
            }
        }
        let applied = Set(entries.map(\.version))
        guard let last = entries.last else { return }
        for (file, _) in files where file.version < last.version && !applied.contains(file.version) {
            throw PostgresError(
                .schema, "\(file.name) comes before \(last.name), which was applied already: give it the next number")
        }
    }
}
