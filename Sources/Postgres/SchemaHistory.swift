/// What was applied to a database, and whether it agrees with the files at hand.
struct SchemaHistory {
    struct Entry: Sendable {
        let version: Int32
        let name: String
        let checksum: String
    }

    private let entries: [Entry]

    init(_ entries: [Entry]) {
        self.entries = entries
    }

    /// Throws, by the name of the file, when the database holds anything that the files do not explain.
    func verify(_ files: [(file: MigrationFile, checksum: String)], in directory: String) throws(PostgresError) {
        let newest = files.last?.file.version ?? 0
        for entry in entries {
            guard let match = files.first(where: { $0.file.version == entry.version }) else {
                throw entry.version > newest
                    ? PostgresError(
                        .schema,
                        "the database is newer than this program: it has \(entry.name); install the newer version")
                    : PostgresError(
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
