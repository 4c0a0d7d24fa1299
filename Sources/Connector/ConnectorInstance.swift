import JobQueue
import Logging
import Mailchimp
import Postgres

/// One linked list at work in this process: carries out its actions, reads what changed there, listens to its hooks.
///
/// Any number of processes may run the same instance: the queue gives each member to one of them at a time, and the
/// permits hold the calls of all of them together within what Mailchimp allows.
public actor ConnectorInstance {
    /// The instance's number.
    public let id: Int64

    let pool: Pool
    let accounts: Accounts
    let permits: Permits
    let webhooks: WebhookAddress?
    let logger: Logger
    private var outcomes = RecentOutcomes()
    /// Whether the instance is paused, as far as this process knows: a batch that began before holds back the rest.
    private(set) var isPaused = false

    /// An instance of a database; without an address for webhooks its pulls come more often.
    init(
        id: Int64, pool: Pool, accounts: Accounts, permits: Permits, webhooks: WebhookAddress?, logger: Logger
    ) {
        self.id = id
        self.pool = pool
        self.accounts = accounts
        self.permits = permits
        self.webhooks = webhooks
        var logger = logger
        logger[metadataKey: "instance"] = "\(id)"
        self.logger = logger
    }

    /// The queue that holds the instance's jobs.
    nonisolated var queue: String { "instance-\(id)" }

    /// The instance as its row says now, with a client for it.
    func link() async throws -> Link? {
        try await Link.load(instance: id, pool: pool, accounts: accounts)
    }

    /// Whether this task has a permit already.
    @TaskLocal private static var hasPermit = false

    /// Runs the body under one permit for all the calls that it makes, one after the other.
    ///
    /// What a call is decided on is looked at under its permit: whoever waits for one knows too little when he has it.
    func permitted<T: Sendable>(_ link: Link, _ body: () async throws -> T) async throws -> T {
        if Self.hasPermit { return try await body() }
        return try await permits.withPermit(link.permit, holder: queue) {
            try await Self.$hasPermit.withValue(true) { try await body() }
        }
    }

    /// Makes one call under a permit of the account's user; when Mailchimp pushes back, everybody slows down.
    func call<T: Sendable>(_ link: Link, _ body: @Sendable (MailchimpClient) async throws -> T) async throws -> T {
        try await permitted(link) {
            do {
                return try await body(link.client)
            } catch let error as MailchimpError where error.isThrottling {
                try await permits.throttle(link.permit)
                throw error
            }
        }
    }

    /// Marks the account's credential as refused; one task tells a person.
    func credentialRefused(_ link: Link) async throws {
        try await setAuthenticated(false, link)
        logger.error("mailchimp refuses the credential: connect the account again with a valid key")
    }

    /// Notes whether Mailchimp accepts the credential, and opens or closes the task about it.
    func setAuthenticated(_ authenticated: Bool, _ link: Link) async throws {
        try await pool.transaction { connection in
            try await connection.execute(
                """
                update koppeling.mailchimp_account set authenticated = \(authenticated)::boolean
                where id = \(link.accountID)::bigint and authenticated <> \(authenticated)::boolean
                """)
            if authenticated {
                try await connection.execute(
                    """
                    update koppeling.task set done_at = koppeling.now()
                    where kind = 'credentialRevoked' and instance_id = \(self.id)::bigint and done_at is null
                    """)
            } else {
                try await connection.query(
                    "select koppeling.open_task('credentialRevoked', \(self.id)::bigint, null, '{}')")
            }
        }
    }

    /// Takes over whether the instance is paused, as its row says; what was rejected before a pause counts no more.
    func note(isPaused: Bool) {
        self.isPaused = isPaused
        if isPaused { outcomes = RecentOutcomes() }
    }

    /// Stops creating and updating until a person looks; what takes contacts away goes on.
    func pause(because reason: String) async throws {
        note(isPaused: true)
        try await pool.transaction { connection in
            let paused = try await connection.execute(
                """
                update koppeling.connector_instance set paused_reason = \(reason)::text
                where id = \(self.id)::bigint and paused_reason is null
                """)
            guard paused > 0 else { return }
            self.logger.error("the instance pauses itself", metadata: ["reason": "\(reason)"])
            try await connection.query(
                """
                select koppeling.open_task('rejections', \(self.id)::bigint, null,
                    jsonb_build_object('reason', \(reason)::text))
                """)
        }
    }

    /// Counts actions that were carried out, or rejected; what is put off or tried again is neither.
    func count(_ actions: Int = 1, rejected: Bool) async throws {
        outcomes.add(actions, rejected: rejected)
        if let excess = outcomes.excess { try await pause(because: excess) }
    }
}
