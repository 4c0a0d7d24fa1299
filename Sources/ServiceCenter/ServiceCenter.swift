import Hummingbird
import IO
public import Logging
import NIOCore
public import Postgres
public import ServiceLifecycle

/// The HTTP side of a deployment: the job API, the webhooks' door, metrics and health.
///
/// Any number of processes may run one on the same database; each holds no state of its own but its metrics.
public struct ServiceCenter: Service {
    /// Where the service center listens.
    public struct Configuration: Sendable {
        /// The address to listen on, such as `127.0.0.1` or `0.0.0.0`.
        public var host: String
        /// The port to listen on; 0 takes a free one, see ``ServiceCenter/boundPort()``.
        public var port: Int

        /// Listens on this address and port.
        public init(host: String = "127.0.0.1", port: Int = 8080) {
            self.host = host
            self.port = port
        }
    }

    private let pool: Pool
    private let configuration: Configuration
    private let metrics: PrometheusRegistry
    private let logger: Logger
    private let port = BoundPort()

    /// A service center on this database.
    ///
    /// `metrics` is what `/metrics` shows beside the state of the queues: pass the registry that the process gave to
    /// `MetricsSystem.bootstrap` to have the process's own figures there.
    public init(
        pool: Pool, configuration: Configuration = Configuration(), metrics: PrometheusRegistry = PrometheusRegistry(),
        logger: Logger
    ) {
        self.pool = pool
        self.configuration = configuration
        self.metrics = metrics
        self.logger = logger
    }

    /// The port that is listened on, as soon as it is; for one waiting task.
    public func boundPort() async throws -> Int {
        try await port.value()
    }

    /// Serves until the task is cancelled or the process is told to stop gracefully.
    public func run() async throws {
        defer { port.close() }
        var quiet = logger
        // The framework tells about every connection; what happens to requests is told by RequestObserver.
        quiet.logLevel = max(logger.logLevel, .notice)
        let application = Application(
            router: router(),
            configuration: ApplicationConfiguration(
                address: .hostname(configuration.host, port: configuration.port), serverName: "koppeling"),
            onServerRunning: { [port, logger] channel in
                guard let bound = channel.localAddress?.port else { return }
                port.open(bound)
                logger.info("The service center listens.", metadata: ["port": "\(bound)"])
            },
            logger: quiet)
        do {
            try await application.run()
        } catch let error as IOError {
            throw ServiceCenterError(
                .listen,
                "Cannot listen on \(configuration.host):\(configuration.port): \(error). Choose another with KOPPELING_LISTEN."
            )
        }
    }

    private func router() -> Router<BasicRequestContext> {
        let router = Router()
        router.add(middleware: RequestObserver(metrics: metrics, logger: logger))
        HealthDoor(pool: pool).add(to: router)
        MetricsDoor(pool: pool, registry: metrics).add(to: router)
        JobsDoor(pool: pool, tokens: APITokens(pool: pool)).add(to: router)
        WebhookDoor(pool: pool).add(to: router)
        return router
    }
}

/// The port of a server that is starting, for whoever waits for it.
private final class BoundPort: Sendable {
    private let known = Locked<Int?>(nil)
    private let stream: AsyncStream<Int>
    private let continuation: AsyncStream<Int>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    func open(_ port: Int) {
        known.withLock { $0 = port }
        continuation.yield(port)
    }

    /// Nobody waits any longer for a server that has ended.
    func close() {
        continuation.finish()
    }

    func value() async throws -> Int {
        if let port = known.withLock({ $0 }) { return port }
        for await port in stream { return port }
        throw CancellationError()
    }
}
