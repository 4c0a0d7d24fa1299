import EmbeddedPostgres
import FoundationEssentials
import Glibc
import Logging
import Postgres

/// What every command works with: the settings, the log, and the database, which is started when it is the private one.
///
/// For example:
///
///     try await Runtime.with { runtime in
///         try await runtime.pool.execute("…")
///     }
struct Runtime: Sendable {
    let settings: Settings
    let logger: Logger
    /// How to reach the database, for connections beside the pool's.
    let database: ConnectionSettings
    /// How to reach it past a pooler, if there is one and the way is known.
    let direct: ConnectionSettings
    let pool: Pool

    /// Runs the body with a runtime, and ends what was started for it.
    ///
    /// A command that changes or reads the schema's tables wants `migrated`: then a database without the schema ends in
    /// one line that says so.
    static func with<Value: Sendable>(
        connections: Int = 4, migrated: Bool = true, _ body: (Runtime) async throws -> Value
    ) async throws -> Value {
        let settings = try Settings.read()
        let logger = Log.logger(settings)
        let embedded: EmbeddedPostgres?
        let database: ConnectionSettings
        if let url = settings.databaseURL {
            (embedded, database) = (nil, ConnectionSettings(url: url, pooler: settings.pooler))
        } else {
            (embedded, database) = try await privateDatabase(settings, logger)
        }
        let runtime = Runtime(
            settings: settings, logger: logger, database: database,
            direct: settings.directDatabaseURL.map { ConnectionSettings(url: $0) } ?? database,
            pool: Pool(database, maximum: connections))
        let result: Result<Value, any Error>
        do {
            if migrated { try await runtime.pool.withConnection { try await Migrator.locate().check($0) } }
            result = .success(try await body(runtime))
        } catch {
            result = .failure(error)
        }
        await runtime.pool.close()
        await embedded?.stop()
        return try result.get()
    }

    /// The key that seals credentials: the setting, or with a private database the one that was made for it.
    func secretKey() throws -> String {
        if let key = settings.secretKey { return key }
        guard settings.databaseURL == nil else {
            throw Failure("KOPPELING_SECRET_KEY is not set: make one with `openssl rand -base64 32` and keep it safe.")
        }
        return try SecretKeyFile(path: settings.home + "/secret-key").read()
    }

    /// Whether there is a key, or one is made when it is asked for.
    var hasSecretKey: Bool { settings.secretKey != nil || settings.databaseURL == nil }

    /// Who does it, for the audit: the user of the operating system.
    var actor: String {
        let user = ProcessInfo.processInfo.environment["SUDO_USER"] ?? ProcessInfo.processInfo.environment["USER"]
        return "cli:" + (user.flatMap { $0.isEmpty ? nil : $0 } ?? String(getuid()))
    }

    /// The private database, or the running one of another `koppeling` that has the same folder.
    private static func privateDatabase(
        _ settings: Settings, _ logger: Logger
    ) async throws -> (EmbeddedPostgres?, ConnectionSettings) {
        let folder = settings.home + "/postgres"
        if let running = EmbeddedPostgres.running(in: folder) { return (nil, running) }
        let embedded = EmbeddedPostgres(directory: folder, logger: logger)
        do {
            return (embedded, try await embedded.start())
        } catch let error as EmbeddedPostgresError {
            throw Failure("\(error.message). Or set DATABASE_URL to a database, or KOPPELING_HOME to another folder.")
        }
    }
}

/// The key of a private database, in a file that only its owner can read.
struct SecretKeyFile {
    let path: String

    /// The key, which is made when there is none.
    func read() throws -> String {
        if let bytes = FileManager.default.contents(atPath: path) {
            return String(decoding: bytes, as: UTF8.self).filter { !$0.isWhitespace }
        }
        var random = SystemRandomNumberGenerator()
        let key = Data((0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) }).base64EncodedString()
        guard
            FileManager.default.createFile(
                atPath: path, contents: Data(key.utf8), attributes: [.posixPermissions: 0o600])
        else {
            throw Failure("\(path) cannot be written: set KOPPELING_SECRET_KEY, or KOPPELING_HOME to another folder.")
        }
        return key
    }
}
