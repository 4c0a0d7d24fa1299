import ArgumentParser
import JobQueue
import Logging
import ServiceLifecycle

/// `koppeling chaos-sync-worker`: a worker as `koppeling work` runs it, with short times.
struct SyncWorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos-sync-worker", abstract: "A worker of the fault test.", shouldDisplay: false)

    @Argument(help: "What it is called.")
    var name: String

    func run() async throws {
        try await Runtime.with(connections: 12) { runtime in
            let services = try LinkServices(runtime)
            defer { services.shutdown() }
            let worker = Worker(
                pool: runtime.pool, listenSettings: runtime.direct,
                options: Worker.Options(
                    name: name, heartbeat: .milliseconds(500), deadAfter: .seconds(2), slowPoll: .seconds(1),
                    gracePeriod: .seconds(2)),
                logger: runtime.logger)
            try await runtime.run([
                WorkerService(runtime: runtime, worker: worker, accounts: services.accounts, vault: services.vault),
                InputWatch(),
            ])
        }
    }
}
