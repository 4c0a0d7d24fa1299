import Glibc
import IO
public import Logging
public import Postgres

/// A PostgreSQL of this program's own, in a folder.
///
/// It listens on a unix socket only, which nobody but its user can reach, and ends with this program, however that ends. After
/// a kill it starts again from the same folder with everything that was committed.
public actor EmbeddedPostgres {
    /// The folder with the data.
    public nonisolated let directory: String

    private nonisolated let folder: ClusterFolder
    /// Reachable without the actor, for `abandon`.
    private nonisolated let server = Locked<ChildProcess?>(nil)
    private let isDurable: Bool
    private let primary: ConnectionSettings?
    private let parameters: [String: String]
    private let logger: Logger
    private var lock: Int32?

    /// A cluster in this folder, which is made when it is not there.
    ///
    /// Without durability a crash of the machine may lose everything, which suits tests. With a primary the new cluster is a
    /// copy of that one and follows it, until it is promoted with `select pg_promote()`. Parameters are the server's own, such
    /// as `shared_buffers`; they win over what is set here.
    public init(
        directory: String, durable: Bool = true, following primary: ConnectionSettings? = nil,
        parameters: [String: String] = [:],
        logger: Logger = Logger(label: "koppeling.postgres")
    ) {
        folder = ClusterFolder(directory)
        self.directory = folder.path
        isDurable = durable
        self.primary = primary
        self.parameters = parameters
        self.logger = logger
    }

    deinit {
        if let lock { close(lock) }
    }

    /// Starts the server, makes the cluster first if need be, and returns how to reach its database `koppeling`.
    public func start() async throws -> ConnectionSettings {
        guard lock == nil else {
            throw EmbeddedPostgresError(.inUse, "this program has started the database in \(directory) already")
        }
        let user = try ServerUser.find()
        lock = try await blocking { [folder] () throws(EmbeddedPostgresError) in try folder.open(user) }
        do {
            try await checkAccess(user)
            let programs = try await blocking { [folder] () throws(EmbeddedPostgresError) in
                try ServerPrograms.find(version: folder.version)
            }
            try await blocking { [folder] () throws(EmbeddedPostgresError) in
                try folder.prepareSocketFolder(user)
                folder.prepareLog(user)
            }
            try await initialize(programs, user)
            try await outliveSurvivor()
            let child = try await launch(programs, user)
            server.withLock { $0 = child }
            try await createDatabase(child)
            return folder.settings
        } catch {
            await stop()
            throw error
        }
    }

    /// Ends the server in good order: transactions that are open are rolled back, everything else is written.
    ///
    /// When it is to stop at once it writes nothing more, as in a crash; what was committed is found again at the next start.
    public func stop(immediately: Bool = false) async {
        let child: ChildProcess? = server.withLock { child in
            defer { child = nil }
            return child
        }
        if let child {
            child.send(immediately ? SIGQUIT : SIGINT)
            if await !child.ended(within: .seconds(30)) {
                logger.warning("the database does not end by itself and is ended now")
                child.send(SIGQUIT)
                _ = await child.ended(within: .seconds(10))
            }
            folder.removeForeignSocketFolder()
        }
        if let lock { close(lock) }
        lock = nil
    }

    /// Ends the server at once and removes the folder, without waiting for anything: for the exit of a test program.
    public nonisolated func abandon() {
        guard let child = server.withLock({ $0 }) else { return }
        child.send(SIGQUIT)
        child.waitBlocking(milliseconds: 5_000)
        folder.remove()
    }

    /// As root the server is another user, who may not be able to reach the folder.
    private func checkAccess(_ user: ServerUser) async throws {
        let test = ["test", "-w", directory, "-a", "-x", directory]
        guard try await ChildProcess.run(user.command(test), log: "/dev/null") == 0 else {
            throw EmbeddedPostgresError(
                .folder,
                "the user postgres cannot reach the folder \(directory): choose one outside of closed folders, such as /var/lib/koppeling"
            )
        }
    }

    private func initialize(_ programs: ServerPrograms, _ user: ServerUser) async throws {
        guard folder.version == nil else { return }
        logger.info("making a database", metadata: ["folder": "\(directory)"])
        let arguments = try creation(programs, in: folder.prepareUnfinished())
        let command = user.mortalCommand(arguments + (isDurable ? [] : ["--no-sync"]), signal: "KILL")
        guard try await ChildProcess.run(command, log: folder.log) == 0 else {
            let program = primary == nil ? "initdb" : "pg_basebackup"
            throw EmbeddedPostgresError(.failed, "\(program) failed: \(folder.lastComplaint()); see \(folder.log)")
        }
        try folder.finish()
    }

    private func creation(_ programs: ServerPrograms, in folder: String) throws -> [String] {
        if let primary {
            return [
                programs.path("pg_basebackup"), "--pgdata", folder, "--dbname", try primary.connectionString(),
                "--write-recovery-conf", "--checkpoint", "fast",
            ]
        }
        return [
            programs.path("initdb"), "--pgdata", folder, "--username", "koppeling", "--auth", "trust", "--encoding",
            "UTF8", "--locale", "C.UTF-8", "--no-instructions",
        ]
    }

    /// Waits for a server whose program was killed to end, and clears away what it left.
    private func outliveSurvivor() async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while let pid = folder.survivor() {
            guard ContinuousClock.now < deadline else {
                throw EmbeddedPostgresError(
                    .inUse, "a PostgreSQL server (process \(pid)) uses the database in \(directory): stop it first")
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        folder.forgetDeadServer()
    }

    /// Starts the server and waits until it takes connections, which after a crash is after its recovery.
    private func launch(_ programs: ServerPrograms, _ user: ServerUser) async throws -> ChildProcess {
        // Its helpers notice the end of a killed server a little later and hold its shared memory until then.
        for attempt in 1... {
            let arguments = [programs.path("postgres"), "-D", folder.data] + options.flatMap { ["-c", $0] }
            let child = try await ChildProcess.start(
                user.mortalCommand(arguments, signal: isDurable ? "INT" : "QUIT"), log: folder.log)
            if try await isReady(child) { return child }
            guard attempt < 5, folder.lastComplaint().contains("shared memory") else { break }
            try await Task.sleep(for: .seconds(1))
        }
        throw EmbeddedPostgresError(
            .failed, "the database in \(directory) does not start: \(folder.lastComplaint()); see \(folder.log)")
    }

    private func isReady(_ child: ChildProcess) async throws -> Bool {
        var lastLine = ContinuousClock.now
        while child.exitCode == nil {
            do throws(PostgresError) {
                _ = try await Connection.connect(folder.settings.with(database: "postgres"))
                return true
            } catch {
                if lastLine + .seconds(10) < .now {
                    lastLine = .now
                    logger.info("the database is not ready yet: \(error.message)")
                }
            }
            if await child.ended(within: .milliseconds(25)) { return false }
            guard !Task.isCancelled else {
                child.send(SIGINT)
                throw CancellationError()
            }
        }
        return false
    }

    private func createDatabase(_ child: ChildProcess) async throws {
        let connection = try await Connection.connect(folder.settings.with(database: "postgres"))
        let exists = try await connection.query("select exists (select from pg_database where datname = 'koppeling')")
        if try !exists.scalar(as: Bool.self) { try await connection.query("create database koppeling") }
    }

    private var options: [String] {
        let common = [
            "listen_addresses=", "unix_socket_directories=\(folder.socketFolder)", "unix_socket_permissions=0700",
            "port=5432",
            "max_connections=200", "timezone=UTC", "log_timezone=UTC", "log_line_prefix=%m [%p] ", "jit=off",
            "logging_collector=off", "cluster_name=koppeling",
        ]
        let careless = [
            "fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
            "shared_buffers=64MB", "max_wal_size=4GB", "checkpoint_timeout=1h",
        ]
        let given = parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return common + (isDurable ? ["shared_buffers=128MB"] : careless) + given
    }
}
