public import Postgres

extension EmbeddedPostgres {
    /// How to reach the database in this folder while another program runs it; nil when none does.
    public static func running(in directory: String) -> ConnectionSettings? {
        let folder = ClusterFolder(directory)
        return folder.survivor() == nil ? nil : folder.settings
    }
}

extension ClusterFolder {
    /// How its server is reached.
    var settings: ConnectionSettings {
        let host = socketFolder.replacing("\\", with: "\\\\").replacing("'", with: "\\'")
        return ConnectionSettings(url: "host='\(host)' port=5432 user=koppeling dbname=koppeling")
    }
}
