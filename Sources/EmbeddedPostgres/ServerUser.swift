import Glibc

/// Under which user the server runs: PostgreSQL refuses to run as root.
package struct ServerUser: Sendable {
    let id: uid_t
    let group: gid_t
    private let isOther: Bool

    /// The user of this program, or `postgres` when that is root.
    package static func find() throws(EmbeddedPostgresError) -> ServerUser {
        guard geteuid() == 0 else { return ServerUser(id: geteuid(), group: getegid(), isOther: false) }
        var entry = passwd()
        var buffer = [CChar](repeating: 0, count: 16_384)
        var found: UnsafeMutablePointer<passwd>?
        getpwnam_r("postgres", &entry, &buffer, buffer.count, &found)
        guard let found else {
            throw EmbeddedPostgresError(
                .programsMissing,
                "as root the database runs under the user postgres, who does not exist: apt install postgresql")
        }
        return ServerUser(id: found.pointee.pw_uid, group: found.pointee.pw_gid, isOther: true)
    }

    /// The command that runs these arguments under this user.
    func command(_ arguments: [String]) -> [String] {
        isOther ? ["setpriv"] + identity + ["--"] + arguments : arguments
    }

    /// The command that runs these arguments under this user, and has them signalled when this program ends.
    ///
    /// The shell closes a gap: were this program killed before the kernel was asked for the signal, none would come. `exec`
    /// keeps the process, and with it what was asked for.
    package func mortalCommand(_ arguments: [String], signal: String) -> [String] {
        let isOrphan = "[ \"$PPID\" = \"$0\" ] || exit 1; exec \"$@\""
        return ["setpriv"] + (isOther ? identity : []) + ["--pdeathsig", signal, "--", "/bin/sh", "-c", isOrphan]
            + [String(getpid())] + arguments
    }

    /// Gives the file to this user.
    package func own(_ path: String) {
        if isOther { lchown(path, id, group) }
    }

    private var identity: [String] { ["--reuid", String(id), "--regid", String(group), "--clear-groups"] }
}
