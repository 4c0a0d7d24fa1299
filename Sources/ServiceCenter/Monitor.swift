import Hummingbird
public import Logging
public import Postgres
public import ServiceLifecycle

/// What a process without a service center shows of itself: its own figures at `/metrics`, and its health.
///
/// How much waits in the queue is the same seen from everywhere, so that is left to the service center.
public struct Monitor: Service {
    private let pool: Pool
    private let metrics: PrometheusRegistry
    private let logger: Logger
    private let listener: Listener

    /// A monitor of the process whose figures go to this registry, listening on this address.
    public init(pool: Pool, host: String, port: Int, metrics: PrometheusRegistry, logger: Logger) {
        self.pool = pool
        self.metrics = metrics
        self.logger = logger
        listener = Listener(host: host, port: port, setting: "KOPPELING_METRICS_LISTEN", logger: logger)
    }

    /// The port that is listened on, as soon as it is; for one waiting task.
    public func boundPort() async throws -> Int {
        try await listener.bound.value()
    }

    /// Serves until the task is cancelled or the process is told to stop gracefully.
    public func run() async throws {
        let router = Router()
        router.add(middleware: RequestObserver(metrics: metrics, logger: logger))
        HealthDoor(pool: pool).add(to: router)
        MetricsDoor(registry: metrics, database: nil).add(to: router)
        try await listener.serve(router)
    }
}
