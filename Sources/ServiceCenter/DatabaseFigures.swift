import Logging
import Postgres

/// The state of the queues, the workers and the linked lists, as it was a few seconds ago at most.
///
/// Counting a long queue takes the database a while, so nobody makes it count more often by asking more often: one reads
/// at a time, and what was read is shown until it is old, also when it was that the database is away.
actor DatabaseFigures {
    private let pool: Pool
    private let lifetime: Duration
    private let logger: Logger
    private var latest: (figures: Exposition, until: ContinuousClock.Instant)?
    private var isReading = false

    init(pool: Pool, lifetime: Duration = .seconds(5), logger: Logger) {
        self.pool = pool
        self.logger = logger
        self.lifetime = lifetime
    }

    /// The figures; not the newest ones while somebody else reads those.
    func current() async -> Exposition {
        let start = ContinuousClock.now
        if let latest, isReading || start < latest.until { return latest.figures }
        isReading = true
        let figures = await read()
        isReading = false
        // A tenth of the time at most is spent on counting, however long the queues are.
        let end = ContinuousClock.now
        latest = (figures, end + max(lifetime, (end - start) * 9))
        return figures
    }

    private func read() async -> Exposition {
        var text = Exposition()
        var isUp = true
        do {
            try await writeQueues(to: &text)
            try await writeRejected(to: &text)
            try await writeWorkers(to: &text)
            try await writeHolds(to: &text)
            try await writeInstances(to: &text)
        } catch {
            logger.warning("The figures of the database cannot be read.", metadata: ["error": "\(error)"])
            text = Exposition()
            isUp = false
        }
        text.family("koppeling_database_up", "gauge")
        text.sample("koppeling_database_up", "", isUp ? 1 : 0)
        return text
    }

    private func writeQueues(to text: inout Exposition) async throws {
        let rows = try await pool.query(
            """
            select queue, kind, ready, scheduled, blocked, parked, running, retrying,
                coalesce(extract(epoch from koppeling.now() - oldest_ready_at), 0)::float8 as age
            from koppeling.queue_status
            order by queue, kind
            limit \(Self.mostRows)
            """)
        text.family("koppeling_queue_jobs", "gauge")
        for row in rows {
            for state in ["ready", "scheduled", "blocked", "parked", "running"] {
                let labels = try labels(of: row, [("state", state)])
                text.sample("koppeling_queue_jobs", labels, Double(try row.decode(state, as: Int64.self)))
            }
        }
        text.family("koppeling_queue_retrying_jobs", "gauge")
        for row in rows {
            let retrying = try row.decode("retrying", as: Int64.self)
            text.sample("koppeling_queue_retrying_jobs", try labels(of: row), Double(retrying))
        }
        text.family("koppeling_queue_oldest_ready_seconds", "gauge")
        for row in rows {
            text.sample("koppeling_queue_oldest_ready_seconds", try labels(of: row), try row.decode("age"))
        }
    }

    /// What a person has to look at, also when no worker was there to count it.
    private func writeRejected(to text: inout Exposition) async throws {
        let rows = try await pool.query(
            """
            select queue, kind, count(*) as jobs
            from koppeling.job_history
            where outcome = 'rejected' and finished_at > koppeling.now() - interval '1 day'
            group by queue, kind
            order by queue, kind
            limit \(Self.mostRows)
            """)
        text.family("koppeling_queue_rejected_jobs", "gauge")
        for row in rows {
            let jobs = try row.decode("jobs", as: Int64.self)
            text.sample("koppeling_queue_rejected_jobs", try labels(of: row), Double(jobs))
        }
    }

    private func writeWorkers(to text: inout Exposition) async throws {
        let rows = try await pool.query("select count(*) from koppeling.workers where state = 'alive'")
        text.family("koppeling_workers_alive", "gauge")
        text.sample("koppeling_workers_alive", "", Double(try rows.scalar(as: Int64.self)))
    }

    private func writeHolds(to text: inout Exposition) async throws {
        let rows = try await pool.query(
            """
            select (select count(*) from koppeling.pauses) as pauses, (select count(*) from koppeling.limits) as limits
            """)
        for (name, column) in [("koppeling_pauses", "pauses"), ("koppeling_limits", "limits")] {
            guard let row = rows.first else { return }
            text.family(name, "gauge")
            text.sample(name, "", Double(try row.decode(column, as: Int64.self)))
        }
    }

    private func writeInstances(to text: inout Exposition) async throws {
        let rows = try await pool.query(
            """
            select instance, claims, open_actions, parked_actions, rejected_today, calls_in_flight, open_tasks,
                enabled::int::bigint as enabled, authenticated::int::bigint as authenticated,
                (paused_reason is not null)::int::bigint as paused,
                allowed_now, own_calls_in_flight, waits_for_permit::int::bigint as waits_for_permit,
                extract(epoch from koppeling.now() - last_pull_at)::bigint as seconds_since_pull
            from koppeling.instance_status
            order by instance
            limit \(Self.mostRows)
            """)
        for figure in rows.columnNames where figure != "instance" {
            text.family("koppeling_instance_\(figure)", "gauge")
            for row in rows {
                // A list that was never read has no age.
                guard let value = try row.decode(figure, as: Int64?.self) else { continue }
                let labels = Exposition.labels([("instance", try row.decode("instance"))])
                text.sample("koppeling_instance_\(figure)", labels, Double(value))
            }
        }
    }

    private func labels(of row: Row, _ more: [(String, String)] = []) throws -> String {
        Exposition.labels([("queue", try row.decode("queue")), ("kind", try row.decode("kind"))] + more)
    }

    /// Names of queues come from outside: however many there are, no scrape becomes endless.
    private static let mostRows = 1_000
}
