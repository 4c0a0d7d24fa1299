import FoundationEssentials
import Glibc

/// The folder of a private cluster: the data, the log, the socket, and a lock for one program at a time.
struct ClusterFolder: Sendable {
    /// A socket's path may have 107 bytes, of which the server's own name for it takes some.
    private static let longestSocketFolder = 107 - "/.s.PGSQL.5432".utf8.count

    let path: String
    let socketFolder: String

    var data: String { path + "/data" }
    var log: String { path + "/postgres.log" }
    private var unfinished: String { path + "/data.unfinished" }
    private var lock: String { path + "/koppeling.lock" }

    init(_ directory: String) {
        path = URL(filePath: directory).standardizedFileURL.path.trimmingSuffix("/")
        let inside = path + "/socket"
        socketFolder =
            inside.utf8.count <= Self.longestSocketFolder
            ? inside : "/tmp/koppeling-" + String(Self.hash(path), radix: 36)
    }

    /// The major version that made the data; nil when there are none.
    var version: Int? {
        guard let bytes = FileManager.default.contents(atPath: data + "/PG_VERSION") else { return nil }
        return Int(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber })
    }

    /// Makes the folder and its parents, and takes the lock, which holds until the descriptor is closed or this program ends.
    func open(_ user: ServerUser) throws(EmbeddedPostgresError) -> Int32 {
        let content = try? FileManager.default.contentsOfDirectory(atPath: path)
        if let content, !content.isEmpty, !content.contains("koppeling.lock") {
            throw EmbeddedPostgresError(
                .folder, "the folder \(path) holds other files: choose an empty one for the database")
        }
        if content == nil {
            try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        }
        let descriptor = Glibc.open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw EmbeddedPostgresError(
                .folder, "the folder \(path) cannot be used for the database (\(reason)): choose another or free it")
        }
        guard Self.isLocked(descriptor) else {
            close(descriptor)
            throw EmbeddedPostgresError(
                .inUse,
                "another program uses the database in \(path), or is starting it: wait, stop it, or choose another folder"
            )
        }
        chmod(path, 0o700)
        user.own(path)
        return descriptor
    }

    /// Tries for a moment: `running` takes the lock for as long as it takes to see that nobody has it.
    private static func isLocked(_ descriptor: Int32) -> Bool {
        for attempt in 0..<5 {
            if attempt > 0 { usleep(20_000) }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        }
        return false
    }

    /// Makes the folder of the socket, and sees that nobody else has a hand in it: whoever reaches the socket rules the database.
    func prepareSocketFolder(_ user: ServerUser) throws(EmbeddedPostgresError) {
        mkdir(socketFolder, 0o700)
        user.own(socketFolder)
        var status = stat()
        guard lstat(socketFolder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == user.id else {
            throw EmbeddedPostgresError(
                .folder, "\(socketFolder) is needed for the database's socket but belongs to somebody else: remove it")
        }
        chmod(socketFolder, 0o700)
        for name in [".s.PGSQL.5432", ".s.PGSQL.5432.lock"] { unlink(socketFolder + "/" + name) }
    }

    /// Opens the log for the server's user and starts it anew when it has grown long.
    func prepareLog(_ user: ServerUser) {
        var status = stat()
        if stat(log, &status) == 0, status.st_size > 10_000_000 { rename(log, log + ".old") }
        let descriptor = Glibc.open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        if descriptor >= 0 { close(descriptor) }
        user.own(log)
    }

    /// Where `initdb` works; what it leaves when it is killed never becomes the data.
    func prepareUnfinished() -> String {
        try? FileManager.default.removeItem(atPath: unfinished)
        return unfinished
    }

    func finish() throws(EmbeddedPostgresError) {
        guard rename(unfinished, data) == 0 else {
            throw EmbeddedPostgresError(.folder, "\(data) cannot be made: \(String(cString: strerror(errno)))")
        }
    }

    func remove() {
        removeForeignSocketFolder()
        try? FileManager.default.removeItem(atPath: path)
    }

    func removeForeignSocketFolder() {
        if socketFolder != path + "/socket" { try? FileManager.default.removeItem(atPath: socketFolder) }
    }

    /// The server that still works on the data: one whose program was killed takes a moment to end.
    func survivor() -> pid_t? {
        guard let bytes = FileManager.default.contents(atPath: data + "/postmaster.pid"),
            let pid = pid_t(String(decoding: bytes, as: UTF8.self).prefix { $0.isNumber }),
            let workingFolder = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd"),
            workingFolder == URL(filePath: data).resolvingSymlinksInPath().path
        else { return nil }
        return pid
    }

    /// Removes what a killed server left; its number may belong to another process now, which would keep a new one from starting.
    func forgetDeadServer() {
        unlink(data + "/postmaster.pid")
    }

    /// The last complaint in the log, on one line.
    func lastComplaint() -> String {
        guard let bytes = FileManager.default.contents(atPath: log) else { return "it left no log" }
        let lines = String(decoding: bytes.suffix(4096), as: UTF8.self).split(whereSeparator: \.isNewline)
        let signs = ["FATAL", "PANIC", "error:", "ERROR", "setpriv:"]
        return String(lines.last { line in signs.contains { line.contains($0) } } ?? lines.last ?? "its log is empty")
    }

    /// FNV-1a: the same path gives the same folder in every run.
    private static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}

extension String {
    fileprivate func trimmingSuffix(_ suffix: String) -> String {
        count > 1 && hasSuffix(suffix) ? String(dropLast(suffix.count)) : self
    }
}
