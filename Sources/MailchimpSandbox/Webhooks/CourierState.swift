/// How webhooks are delivered, what goes wrong on purpose, and what became of them.
struct CourierState: Sendable {
    /// What may be set while the sandbox runs.
    struct Settings: Sendable {
        /// The share of events that are never delivered.
        var dropShare = 0.0
        /// The share of events that are delivered twice.
        var doubleShare = 0.0
        /// Events are held back for up to so many milliseconds, each for another time.
        var shuffleMilliseconds = 0.0
        /// How long the receiver may take, by real time.
        var timeout: Duration
        /// The pauses before a delivery is made again.
        var retries: [Duration]
        /// After how many deliveries in a row that were given up a webhook is switched off; 0 for never.
        var disabledAfter: Int

        init(_ configuration: SandboxConfiguration) {
            timeout = configuration.webhookTimeout
            retries = configuration.webhookRetries
            disabledAfter = configuration.webhookFailuresUntilDisabled
        }
    }

    /// More at once would only meet the receiver's own limits.
    static let atOnce = 128
    /// More than an import of a whole list causes; what comes beyond is dropped.
    static let mostWaiting = 1_000_000

    var settings: Settings
    /// Decides which events are dropped, doubled and held back.
    var noise: SeededGenerator
    var waiting = DeliveryQueue()
    /// Deliveries that are being made.
    var underway = 0
    /// Calls the courier while the sandbox runs.
    var bell: AsyncStream<Void>.Continuation?
    private var lastID = 0
    var fired = 0
    var dropped = 0
    var delivered = 0
    /// Tries that failed.
    var refused = 0
    /// Deliveries that were given up.
    var failed = 0
    var journal = Ring<JSON>(capacity: 2000)

    init(_ configuration: SandboxConfiguration, noise: SeededGenerator) {
        settings = Settings(configuration)
        self.noise = noise
    }

    /// Deliveries that are neither done nor given up.
    var pending: Int { waiting.count + underway }

    mutating func nextID() -> Int {
        lastID += 1
        return lastID
    }
}
