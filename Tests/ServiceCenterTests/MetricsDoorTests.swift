import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Metrics", .database)
struct MetricsDoorTests {
    @Test func whatWaitsIsCountedByQueueAndKind() async throws {
        let pool = TestDatabase.current.pool
        try await pool.query("select koppeling.enqueue('echo', queue => 'letters') from generate_series(1, 3)")
        try await pool.query("select koppeling.enqueue('echo', queue => 'letters', run_at => koppeling.now() + '1 h')")
        try await withServiceCenter { door in
            let answer = try await door.send("GET", "/metrics")
            #expect(answer.status == 200)
            #expect(answer.header("content-type")?.hasPrefix("text/plain") == true)
            #expect(answer.text.contains(#"koppeling_queue_jobs{kind="echo",queue="letters",state="ready"} 3"#))
            #expect(answer.text.contains(#"koppeling_queue_jobs{kind="echo",queue="letters",state="scheduled"} 1"#))
            #expect(answer.text.contains("koppeling_workers_alive 0\n"))
            #expect(answer.text.contains("koppeling_database_up 1\n"))
        }
    }

    @Test func whatWasRejectedInTheLastDayIsCounted() async throws {
        let pool = TestDatabase.current.pool
        try await pool.query("select koppeling.enqueue('echo', queue => 'letters') from generate_series(1, 3)")
        try await pool.query("select koppeling.cancel_job(id, 'no') from koppeling.job")
        try await pool.execute("update koppeling.job_history set outcome = 'rejected'")
        try await pool.execute(
            "update koppeling.job_history set finished_at = koppeling.now() - interval '25 hours' where id = 1")
        try await withServiceCenter { door in
            let answer = try await door.send("GET", "/metrics")
            #expect(answer.text.contains(#"koppeling_queue_rejected_jobs{kind="echo",queue="letters"} 2"#))
        }
    }

    @Test func askingOftenDoesNotMakeTheDatabaseCountOften() async throws {
        let pool = TestDatabase.current.pool
        try await withServiceCenter { door in
            _ = try await door.send("GET", "/metrics")
            try await pool.query("select koppeling.enqueue('echo')")
            let answer = try await door.send("GET", "/metrics")
            #expect(!answer.text.contains("koppeling_queue_jobs{"), "the figures of a moment ago are shown again")
        }
    }

    @Test func withoutADatabaseTheProcessStillShowsItsOwnFigures() async throws {
        try await TestDatabase.current.pool.execute("alter view koppeling.queue_status rename to somewhere_else")
        try await withServiceCenter { door in
            _ = try await door.send("GET", "/health/live")
            let answer = try await door.send("GET", "/metrics")
            #expect(answer.status == 200)
            #expect(answer.text.contains("koppeling_database_up 0\n"))
            #expect(answer.text.contains("koppeling_http_request_duration_seconds_count"))
        }
    }

    @Test func linkedListsAreShownWithTheirFlags() async throws {
        try await insertInstance(secret: "secret")
        try await withServiceCenter { door in
            let answer = try await door.send("GET", "/metrics")
            #expect(answer.text.contains(#"koppeling_instance_enabled{instance="News"} 0"#))
            #expect(answer.text.contains(#"koppeling_instance_open_actions{instance="News"} 0"#))
            #expect(answer.text.contains("# TYPE koppeling_instance_seconds_since_pull gauge\n"))
            #expect(!answer.text.contains("koppeling_instance_seconds_since_pull{"))
        }
    }

    @Test func requestsAreTimedByRouteAndNotByPath() async throws {
        try await withServiceCenter { door in
            _ = try await door.send("GET", "/nowhere/at/all")
            _ = try await door.send("BREW", "/health/live")
            let answer = try await door.send("GET", "/metrics")
            #expect(answer.text.contains(#"{method="GET",route="unknown",status="404",le="+Inf"} 1"#))
            #expect(!answer.text.contains("nowhere"))
            #expect(!answer.text.contains("BREW"))
        }
    }
}
