import Postgres

/// Something that must hold in the queue and does not.
struct QueueViolation: CustomStringConvertible {
    let invariant: String
    let count: Int64
    let example: String

    var description: String {
        let others = count > 1 ? " (and \(count - 1) more)" : ""
        return "\(example)\(others): \(advice)"
    }

    /// What is violated now and still is half a minute later, if anything is.
    static func lasting(_ pool: Pool) async throws -> [QueueViolation] {
        let first = Set(try await found(pool).map(\.invariant))
        guard !first.isEmpty else { return [] }
        Console.line("      something is not as it must be: looking again in 30 s")
        try await Task.sleep(for: .seconds(30))
        return try await found(pool).filter { first.contains($0.invariant) }
    }

    private static func found(_ pool: Pool) async throws -> [QueueViolation] {
        let rows = try await pool.query(
            "select invariant, violations, example from koppeling.check_queue() where violations > 0")
        return try rows.map { row in
            QueueViolation(
                invariant: try row.decode("invariant"), count: try row.decode("violations"),
                example: try row.decode("example"))
        }
    }

    private var advice: String {
        switch invariant {
        case "in_one_place", "finished_once", "claims_accounted_for", "one_running_per_order_key":
            "this cannot come from working: was a table changed by hand, or a backup restored in part?"
        case "running_has_a_live_worker":
            "a worker that lives takes it over: start koppeling work, or see in its log why it does not"
        case "limits_are_kept":
            "this cannot come from working: was the limit's row changed by hand?"
        case "blocked_jobs_are_held":
            "workers look for these now and then: start koppeling work, or see in its log why it does not"
        case "due_jobs_are_taken":
            "its workers wait and do not hear of it: see listening above, and their log"
        case "schedules_are_on_time":
            "a worker that lives runs schedules: start koppeling work, or see in its log why it does not"
        case "consumers_have_a_worker":
            "a worker that lives clears them away when it finds another dead; until then they do no harm"
        case "history_days_are_made", "history_is_pruned":
            "workers see to it once an hour: start koppeling work with a role that owns the tables, and end "
                + "transactions that read the history for hours"
        case "history_lies_in_its_days":
            "no worker had made that day; its rows are moved within the hour, or deleted when their time is over"
        default: "see docs/job-queue.md"
        }
    }
}
