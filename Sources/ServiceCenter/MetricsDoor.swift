import Hummingbird
import Postgres

/// `/metrics`: the figures of this process, and the state of the queues, the workers and the linked lists.
struct MetricsDoor: Sendable {
    let pool: Pool
    let registry: PrometheusRegistry

    func add(to router: Router<BasicRequestContext>) {
        router.get("/metrics") { _, _ in
            var text = Exposition()
            registry.write(to: &text)
            try await writeQueues(to: &text)
            try await writeWorkers(to: &text)
            try await writeInstances(to: &text)
            return Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text.text)))
        }
    }

    private func writeQueues(to text: inout Exposition) async throws {
        let rows = try await pool.query(
            """
            select queue, kind, ready, scheduled, parked, running, retrying,
                coalesce(extract(epoch from koppeling.now() - oldest_ready_at), 0)::float8 as age
            from koppeling.queue_status
            order by queue, kind
            """)
        text.family("koppeling_queue_jobs", "gauge")
        for row in rows {
            for state in ["ready", "scheduled", "parked", "running"] {
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

    private func writeWorkers(to text: inout Exposition) async throws {
        let rows = try await pool.query("select count(*) from koppeling.workers where state = 'alive'")
        text.family("koppeling_workers_alive", "gauge")
        text.sample("koppeling_workers_alive", "", Double(try rows.scalar(as: Int64.self)))
    }

    private func writeInstances(to text: inout Exposition) async throws {
        let rows = try await pool.query(
            """
            select instance, claims, open_actions, parked_actions, rejected_today, calls_in_flight, open_tasks,
                enabled::int::bigint as enabled, authenticated::int::bigint as authenticated,
                (paused_reason is not null)::int::bigint as paused,
                extract(epoch from koppeling.now() - last_pull_at)::bigint as seconds_since_pull
            from koppeling.instance_status
            order by instance
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
}
