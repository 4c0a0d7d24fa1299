import FoundationEssentials
import IO

/// Brings the schema of a database up to the numbered files of a folder.
///
/// Each file runs once, in a transaction of its own, under a lock that all migrators share, so any number may run at once.
/// What was applied is never run again and must not change: a change is a new file. A database that a newer program has
/// migrated is left as it is and counts as up to date, unless a file of that one says that it leaves older programs behind:
/// its line `-- oldest-program: 0024` bids those that end before file 0024 not to start.
public struct Migrator: Sendable {
    /// How a file stands to the database.
    public struct Status: Sendable, Hashable {
        /// The name of the file.
        public let name: String
        /// Whether the database has it.
        public let isApplied: Bool
        /// Whether only a newer program knows it.
        public let isNewer: Bool
    }

    /// The folder of the files.
    public let directory: String
    /// The longest a statement of a file waits for a lock before the file is rolled back and tried again.
    ///
    /// Everybody else who wants the table queues behind it for as long. It is less than the second after which the server
    /// looks for deadlocks, so that we give way and not a worker.
    public var lockTimeout: Duration = .milliseconds(800)
    /// How often a file is tried.
    public var attempts = 20

    private static let backoff = Backoff(base: .milliseconds(200), cap: .seconds(5), jitter: .equal)

    /// Migrates to the files of this folder.
    public init(directory: String) {
        self.directory = directory
    }

    /// Applies the files that the database does not have; returns their names.
    public func migrate(_ connection: Connection) async throws -> [String] {
        let files = try await MigrationFile.read(directory)
        guard !files.isEmpty else {
            throw PostgresError(.schema, "\(directory) holds no SQL files: set KOPPELING_SQL to the folder that does")
        }
        let checksums = try await checksums(files, connection)
        var applied: [String] = []
        for (file, checksum) in zip(files, checksums) {
            let isNew = try await apply(file, checksum, zip(files, checksums).map { ($0, $1) }, connection)
            if isNew { applied.append(file.name) }
        }
        return applied
    }

    /// Which files the database has; throws when it has something that does not go with them.
    public func status(_ connection: Connection) async throws -> [Status] {
        let files = try await MigrationFile.read(directory)
        let checksums = try await checksums(files, connection)
        let known = try await applied(connection)
        let history = SchemaHistory(known)
        try history.verify(zip(files, checksums).map { ($0, $1) }, in: directory)
        let versions = Set(known.map(\.version))
        let own = files.map { Status(name: $0.name, isApplied: versions.contains($0.version), isNewer: false) }
        return own + history.newer(than: files).map { Status(name: $0, isApplied: true, isNewer: true) }
    }

    /// Throws unless the database has every file: what a program does before it starts to work.
    public func check(_ connection: Connection) async throws {
        let missing = try await status(connection).filter { !$0.isApplied }
        guard let first = missing.first else { return }
        throw PostgresError(.schema, "the database lacks \(first.name): run koppeling migrate")
    }

    /// Runs one file unless it was run; another migrator may have been faster, so everything is looked at under the lock.
    private func apply(
        _ file: MigrationFile, _ checksum: String, _ all: [(MigrationFile, String)], _ connection: Connection
    ) async throws -> Bool {
        var attempt = 1
        while true {
            do {
                return try await connection.transaction { connection in
                    try await lock(connection)
                    let known = try await applied(connection)
                    try SchemaHistory(known).verify(all, in: directory)
                    guard !known.contains(where: { $0.version == file.version }) else { return false }
                    try await run(file, checksum, connection)
                    return true
                }
            } catch let error as PostgresError where ["55P03", "40P01"].contains(error.sqlState) {
                // Something else uses a table of ours. Waiting on would make everybody queue behind us.
                guard attempt < attempts else { throw try await failure(error, after: attempt, connection) }
                try await Task.sleep(for: Self.backoff.delay(attempt: attempt))
                attempt += 1
            }
        }
    }

    private func lock(_ connection: Connection) async throws {
        // The number has no meaning, it only has to be the same in every migrator.
        try await connection.liftTimeLimit()
        try await connection.script("set local lock_timeout = 0")
        try await connection.query("select pg_advisory_xact_lock(7305478812961::bigint)")
        try await connection.script(
            """
            create table if not exists public.koppeling_migration (
                version integer primary key,
                name text not null,
                checksum text not null,
                oldest_program integer not null default 0,
                applied_at timestamptz not null default clock_timestamp()
            )
            """)
        try await connection.script("set local lock_timeout = '\(Int(lockTimeout / .milliseconds(1)))ms'")
    }

    private func run(_ file: MigrationFile, _ checksum: String, _ connection: Connection) async throws {
        do throws(PostgresError) {
            try await connection.script(file.sql)
        } catch {
            var failure = error
            failure.message = "\(file.name): \(error.message)"
            failure.hint = error.hint ?? Self.advice(error)
            throw failure
        }
        guard connection.isInTransaction else {
            throw PostgresError(
                .schema, "\(file.name) ends the transaction it runs in: take begin and commit out of it")
        }
        try await connection.execute(
            """
            insert into public.koppeling_migration (version, name, checksum, oldest_program)
            values (\(file.version)::integer, \(file.name)::text, \(checksum)::text, \(file.oldestProgram)::integer)
            """)
    }

    private func applied(_ connection: Connection) async throws -> [SchemaHistory.Entry] {
        let exists = try await connection.query("select to_regclass('public.koppeling_migration') is not null")
        guard try exists.scalar(as: Bool.self) else { return [] }
        let rows = try await connection.query(
            "select version, name, checksum, oldest_program from public.koppeling_migration order by version")
        return try rows.map { row throws(PostgresError) in
            SchemaHistory.Entry(
                version: try row.decode("version"), name: try row.decode("name"), checksum: try row.decode("checksum"),
                oldestProgram: try row.decode("oldest_program"))
        }
    }

    /// The server computes them, so that no other implementation of SHA-256 is needed.
    private func checksums(_ files: [MigrationFile], _ connection: Connection) async throws -> [String] {
        let rows = try await connection.query(
            """
            select encode(sha256(convert_to(file.sql, 'UTF8')), 'hex') as checksum
            from unnest(\(files.map(\.sql))::text[]) with ordinality as file (sql, number)
            order by file.number
            """)
        return try rows.map { row throws(PostgresError) in try row.decode("checksum") }
    }
}
