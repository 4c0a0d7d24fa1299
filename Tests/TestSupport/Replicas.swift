import EmbeddedPostgres
import FoundationEssentials
import Logging
public import Postgres

/// A primary with a migrated database, and a standby that has everything the primary has said to be committed.
public struct Replicas: Sendable {
    private let primaryServer: EmbeddedPostgres
    private let standbyServer: EmbeddedPostgres
    /// How to reach the first primary, whatever it has become.
    public let primary: ConnectionSettings
    /// How to reach the first standby.
    public let standby: ConnectionSettings
    /// How to reach whichever takes writes.
    public let settings: ConnectionSettings

    /// Starts both, runs the body, and removes them.
    public static func with<Value: Sendable>(_ body: (Replicas) async throws -> Value) async throws -> Value {
        let folder = "/tmp/koppeling-replicas-\(UUID().uuidString.prefix(8))"
        let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        let primaryServer = EmbeddedPostgres(directory: folder + "-1", logger: logger)
        defer { for number in 1...2 { try? FileManager.default.removeItem(atPath: "\(folder)-\(number)") } }
        let primary = try await primaryServer.start()
        let standbyServer = EmbeddedPostgres(directory: folder + "-2", following: primary, logger: logger)
        let result: Result<Value, any Error>
        do {
            _ = try await Migrator.locate().migrate(try await Connection.connect(primary))
            let standby = try await standbyServer.start()
            try await synchronise(primary)
            let hosts = "host='\(folder)-1/socket,\(folder)-2/socket' port=5432 user=koppeling dbname=koppeling"
            result = .success(
                try await body(
                    Replicas(
                        primaryServer: primaryServer, standbyServer: standbyServer, primary: primary, standby: standby,
                        settings: ConnectionSettings(url: hosts))))
        } catch {
            result = .failure(error)
        }
        await standbyServer.stop(immediately: true)
        await primaryServer.stop(immediately: true)
        return try result.get()
    }

    /// From here on a commit waits until the standby has it too.
    private static func synchronise(_ primary: ConnectionSettings) async throws {
        let admin = try await Connection.connect(primary)
        try await admin.query("alter system set synchronous_standby_names = '*'")
        try await admin.query("select pg_reload_conf()")
    }

    /// Ends the primary as a crash would.
    public func stopPrimary() async {
        await primaryServer.stop(immediately: true)
    }

    /// Makes the standby the primary.
    public func promote() async throws {
        try await Connection.connect(standby).query("select pg_promote()")
    }
}
