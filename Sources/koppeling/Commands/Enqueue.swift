import ArgumentParser
import FoundationEssentials
import Postgres

/// `koppeling enqueue`: one job from arguments, or many from lines of JSON.
struct Enqueue: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Enqueue a job, or jobs from stdin: one JSON object a line.",
        discussion: """
            With KIND one job is enqueued and its id printed. Without, every line of stdin is a job with the fields of \
            koppeling.enqueue; all of them are enqueued or none, and their number is printed.
            """)

    @Argument(help: "What kind of job it is; table koppeling.job_kind has those that may be enqueued.")
    var kind: String?

    @OptionGroup var options: JobOptions

    @Option(help: "Not before this moment, such as 2030-01-31T12:00:00Z; infinity parks it.")
    var runAt: String?

    func run() async throws {
        try await Runtime.with { runtime in
            if let kind {
                Console.line(String(try await enqueue(kind, runtime.pool)))
            } else {
                Console.line(String(try await JobLines(pool: runtime.pool).enqueue()))
            }
        }
    }

    /// The fields go through the same checks as those of a line.
    private func enqueue(_ kind: String, _ pool: Pool) async throws -> Int64 {
        do throws(PostgresError) {
            let rows = try await pool.query(
                """
                select (koppeling.enqueue_each(jsonb_build_array(jsonb_build_object(
                    'kind', \(kind)::text, 'args', \(options.args)::text::jsonb, 'queue', \(options.queue)::text,
                    'key', \(options.key)::text, 'key_mode', \(options.keyMode)::text,
                    'order_key', \(options.orderKey)::text, 'limit_key', \(options.limitKey)::text,
                    'run_at', \(runAt)::text, 'priority', \(options.priority)::bigint,
                    'max_attempts', \(options.maxAttempts)::bigint))))[1]
                """)
            return try rows.scalar()
        } catch {
            if error.isNoJSON { throw Failure("args: not JSON that can be stored. Nothing was enqueued.") }
            guard let fault = JobFault(error) else { throw error }
            throw Failure("\(fault.text). Nothing was enqueued.")
        }
    }

    func validate() throws {
        guard kind != nil || options.isEmpty && runAt == nil else {
            throw ValidationError("options describe one job, whose KIND is missing; a line of stdin has its own fields")
        }
    }
}

/// Jobs from stdin, a line each, enqueued in one transaction, some at a time.
private struct JobLines {
    static let batch = 1_000
    /// So that a thousand of the largest jobs are not in memory at once.
    static let batchBytes = 4 * 1024 * 1024
    let pool: Pool

    private typealias Line = (number: Int, text: String)

    func enqueue() async throws -> Int {
        try await pool.transaction { connection in
            var lines = InputLines()
            var batch: [Line] = []
            var bytes = 0
            var count = 0
            while let line = try await lines.next() {
                batch.append(line)
                bytes += line.text.utf8.count
                guard batch.count == Self.batch || bytes >= Self.batchBytes else { continue }
                try await enqueue(batch, on: connection)
                count += batch.count
                (batch, bytes) = ([], 0)
            }
            if !batch.isEmpty { try await enqueue(batch, on: connection) }
            return count + batch.count
        }
    }

    private func enqueue(_ batch: [Line], on connection: Connection) async throws {
        do throws(PostgresError) {
            try await connection.query(
                """
                select koppeling.enqueue_each(jsonb_agg(line::jsonb order by number))
                from unnest(\(batch.map(\.text))) with ordinality as lines (line, number)
                """)
        } catch {
            throw failure(error, batch)
        }
    }

    /// Names the line instead of the place in a batch.
    private func failure(_ error: PostgresError, _ batch: [Line]) -> any Error {
        if let fault = JobFault(error), batch.indices.contains(fault.index) {
            return Failure("Line \(batch[fault.index].number): \(fault.text). Nothing was enqueued.")
        }
        if error.isNoJSON {
            let bad = batch.first { !isJSON($0.text) }
            let place = bad.map { "Line \($0.number)" } ?? "A line from \(batch[0].number) on"
            return Failure("\(place) is not JSON that can be stored. Nothing was enqueued.")
        }
        return error
    }

    private func isJSON(_ text: String) -> Bool {
        struct Anything: Decodable { init(from decoder: any Decoder) {} }
        return (try? JSONText(text).decode(Anything.self)) != nil && !text.contains(#"\u0000"#)
    }
}

/// What the database says about an entry of a list of jobs: `jobs[3].priority: must be from -10000 to 10000`.
private struct JobFault {
    var index: Int
    /// The field and what is wrong with it.
    var text: String

    init?(_ error: PostgresError) {
        let prefix = "jobs["
        guard error.code == .server, error.message.hasPrefix(prefix),
            let close = error.message.firstIndex(of: "]"),
            let index = Int(error.message.dropFirst(prefix.count).prefix { $0 != "]" })
        else { return nil }
        self.index = index
        text = String(error.message[close...].drop { "].: ".contains($0) })
        if let hint = error.hint { text += ". " + (hint.hasSuffix(".") ? String(hint.dropLast()) : hint) }
    }
}

extension PostgresError {
    /// Not JSON at all, or JSON with a character that PostgreSQL does not keep.
    fileprivate var isNoJSON: Bool { sqlState == "22P02" || sqlState == "22P05" }
}
