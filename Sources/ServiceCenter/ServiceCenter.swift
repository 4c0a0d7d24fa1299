public import Connector
import Hummingbird
public import Logging
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
        /// Where browsers reach it from outside, such as `https://koppeling.example.org`.
        public var publicURL: String?
        /// Whether this deployment is for training, which every page then says.
        public var isTraining: Bool

        /// Listens on this address and port.
        public init(
            host: String = "127.0.0.1", port: Int = 8080, publicURL: String? = nil, isTraining: Bool = false
        ) {
            self.host = host
            self.port = port
            self.publicURL = publicURL
            self.isTraining = isTraining
        }
    }

    private let pool: Pool
    private let metrics: PrometheusRegistry
    private let logger: Logger
    private let listener: Listener
    private let connectDoor: ConnectDoor
    private let receiver: WebhookReceiver
    private let instances: Instances?
    private let mergeFields: MergeFields?
    private let erasures: Erasures?

    /// A service center on this database.
    ///
    /// `metrics` is what `/metrics` shows beside the state of the queues: pass the registry that the process gave to
    /// `MetricsSystem.bootstrap` to have the process's own figures there. Without `tickets` no account can be connected
    /// here by OAuth2; without a vault signed webhooks cannot be checked; without `instances` and `mergeFields` the link is
    /// shown and not changed.
    public init(
        pool: Pool, configuration: Configuration = Configuration(), tickets: AccountTickets? = nil,
        vault: Vault? = nil, instances: Instances? = nil, mergeFields: MergeFields? = nil,
        metrics: PrometheusRegistry = PrometheusRegistry(), logger: Logger
    ) {
        self.pool = pool
        self.metrics = metrics
        self.logger = logger
        listener = Listener(
            host: configuration.host, port: configuration.port, setting: "KOPPELING_LISTEN", logger: logger)
        receiver = WebhookReceiver(pool: pool, vault: vault)
        self.instances = instances
        self.mergeFields = mergeFields
        erasures = vault.map { Erasures(pool: pool, vault: $0) }
        connectDoor = ConnectDoor(
            tickets: tickets, publicURL: configuration.publicURL, isTraining: configuration.isTraining)
    }

    /// Where Mailchimp sends browsers back to: what the app must be registered with there.
    public static func redirectURI(publicURL: String) -> String { publicURL + ConnectDoor.callbackPath }

    /// The port that is listened on, as soon as it is; for one waiting task.
    public func boundPort() async throws -> Int {
        try await listener.bound.value()
    }

    /// Serves until the task is cancelled or the process is told to stop gracefully.
    public func run() async throws {
        try await listener.serve(router())
    }

    private func router() -> Router<BasicRequestContext> {
        let router = Router()
        let gate = Gate(tokens: APITokens(pool: pool))
        router.add(middleware: RequestObserver(metrics: metrics, logger: logger))
        router.add(middleware: ErasedObserver(erasures: erasures))
        HealthDoor(pool: pool).add(to: router)
        MetricsDoor(registry: metrics, database: DatabaseFigures(pool: pool, logger: logger)).add(to: router)
        JobsDoor(pool: pool, gate: gate).add(to: router)
        JobPages(pool: pool, gate: gate).add(to: router)
        JobDesk(pool: pool, gate: gate).add(to: router)
        LimitsDoor(pool: pool, gate: gate).add(to: router)
        PausesDoor(pool: pool, gate: gate).add(to: router)
        SchedulesDoor(pool: pool, gate: gate).add(to: router)
        PutsDoor(pool: pool, gate: gate, erasures: erasures).add(to: router)
        PersonDesk(pool: pool, gate: gate).add(to: router)
        PersonPages(pool: pool, gate: gate).add(to: router)
        ErasuresDoor(pool: pool, gate: gate).add(to: router)
        GroupsDoor(pool: pool, gate: gate).add(to: router)
        RulesDoor(pool: pool, gate: gate).add(to: router)
        ValuesDoor(pool: pool, gate: gate).add(to: router)
        PlansDoor(pool: pool, gate: gate).add(to: router)
        ActionsDoor(pool: pool, gate: gate).add(to: router)
        TasksDoor(pool: pool, gate: gate).add(to: router)
        InstancesDoor(pool: pool, gate: gate, instances: instances).add(to: router)
        MergeFieldsDoor(pool: pool, gate: gate, instances: instances, mergeFields: mergeFields).add(to: router)
        WebhookDoor(receiver: receiver).add(to: router)
        connectDoor.add(to: router)
        return router
    }
}
