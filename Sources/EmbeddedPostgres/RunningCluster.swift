import Glibc
public import Postgres

extension EmbeddedPostgres {
    /// How to reach the database in this folder while another program runs it; nil when none does.
    public static func running(in directory: String) -> ConnectionSettings? {
        let folder = ClusterFolder(directory)
        return folder.isHeld && folder.survivor() != nil ? folder.settings : nil
    }
}

extension ClusterFolder {
    /// Whether a program holds the folder: the server of one that was killed lives on without it for a moment.
    fileprivate var isHeld: Bool {
        let descriptor = Glibc.open(path + "/koppeling.lock", O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return errno == EACCES }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0
    }

    /// How its server is reached.
    var settings: ConnectionSettings {
        let host = socketFolder.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
        return ConnectionSettings(url: "host='\(host)' port=5432 user=koppeling dbname=koppeling")
    }
}
