import ArgumentParser
import Connector
import Logging
import Metrics
import Postgres
import ServiceCenter
import ServiceLifecycle
import UnixSignals

/// `koppeling serve`: the service center alone.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the service center: the HTTP API, the webhooks' door, metrics and health.",
        discussion: "Listens on KOPPELING_LISTEN until SIGTERM or SIGINT. Any number may run on one database.")

    func run() async throws {
        try await Runtime.with(connections: 16) { runtime in
            // Without a key it serves all that needs none.
            let services = runtime.hasSecretKey ? try LinkServices(runtime) : nil
            defer { services?.shutdown() }
            try await runtime.run([runtime.serviceCenter(services)])
        }
    }
}

extension Runtime {
    /// The service center of this deployment, with the figures of this process.
    func serviceCenter(_ services: LinkServices?) -> ServiceCenter {
        let metrics = PrometheusRegistry()
        MetricsSystem.bootstrap(metrics)
        return ServiceCenter(
            pool: pool,
            configuration: .init(
                host: settings.listen.host, port: settings.listen.port, publicURL: settings.publicURL,
                isTraining: settings.environment == .training),
            tickets: services?.tickets, vault: services?.vault, instances: services?.instances,
            mergeFields: services?.mergeFields, metrics: metrics, logger: logger)
    }

    /// What a worker process shows of itself; nil when nobody said where.
    ///
    /// To be made before the worker, which takes the registry of the process.
    func monitor() -> Monitor? {
        guard let address = settings.metricsListen else { return nil }
        let metrics = PrometheusRegistry()
        MetricsSystem.bootstrap(metrics)
        return Monitor(pool: pool, host: address.host, port: address.port, metrics: metrics, logger: logger)
    }

    /// Runs services until SIGTERM or SIGINT; what does not end within the grace period is cancelled.
    ///
    /// Whoever sends the signal a second time means at once.
    func run(_ services: [any Service], grace: Duration = .seconds(30)) async throws {
        var configuration = ServiceGroupConfiguration(services: services, logger: logger)
        configuration.maximumGracefulShutdownDuration = grace
        configuration.maximumCancellationDuration = .seconds(10)
        let group = ServiceGroup(configuration: configuration)
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        try await withThrowingTaskGroup(of: Bool.self) { tasks in
            tasks.addTask {
                try await group.run()
                return true
            }
            tasks.addTask {
                var isStopping = false
                for await _ in signals {
                    if isStopping { return false }
                    isStopping = true
                    logger.notice("was told to stop: it finishes what it has begun; told again, it stops at once")
                    await group.triggerGracefulShutdown()
                }
                return true
            }
            let isOrderly = try await tasks.next() ?? true
            tasks.cancelAll()
            if isOrderly { return }
            logger.notice("was told again: it stops at once, and gives back what it has begun")
            // The services end because they are cancelled, so that is no failure.
            do { while try await tasks.next() != nil {} } catch is CancellationError {}
        }
    }
}
