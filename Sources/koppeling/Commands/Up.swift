import ArgumentParser
import Postgres

/// `koppeling up`: everything in one process, on a private database unless DATABASE_URL is set.
struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Migrate, then run the service center and a worker in this process.",
        discussion: "The way to start on one machine. Stops at SIGTERM or SIGINT.")

    func run() async throws {
        try await Runtime.with(connections: 32, migrated: false) { runtime in
            _ = try await Migrator.locate().migrate(try await Connection.connect(runtime.direct))
            let services = try LinkServices(runtime)
            defer { services.shutdown() }
            try await runtime.run([runtime.serviceCenter(services), runtime.workerService(services)])
        }
    }
}
