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

    @Option(help: "What the job is about, as a JSON object or array.")
    var args: String?

    @Option(help: "The queue; default without.")
    var queue: String?

    @Option(help: "Of the jobs with this key only one waits.")
    var key: String?

    @Option(help: "Of the jobs with this key only one runs, in the order of their ids.")
    var orderKey: String?

    @Option(help: "Not before this moment, such as 2030-01-31T12:00:00Z.")
    var runAt: String?

    @Option(help: "Lower numbers go first.")
    var priority: Int?

    func run() async throws {
        try await Runtime.with { runtime in
            guard let kind else {
                let count = try await JobLines(pool: runtime.pool).enqueue()
                Console.line(String(count))
                return
            }
            let args = args.map { JSONText($0) }
            let id = try await runtime.pool.query(
                """
                select koppeling.enqueue(
                    \(kind), coalesce(\(args), '{}'), queue => coalesce(\(queue), 'default'), key => \(key),
                    order_key => \(orderKey), run_at => coalesce(\(runAt)::timestamptz, koppeling.now()),
                    priority => coalesce(\(priority)::int, 0))
                """)
            Console.line(String(try id.scalar(as: Int64.self)))
        }
    }
}

/// Jobs from stdin, a line each, enqueued in one transaction, some at a time.
private struct JobLines {
    static let batch = 1_000
    let pool: Pool

    func enqueue() async throws -> Int {
        try await pool.transaction { connection in
            var lines = InputLines()
            var batch: [(number: Int, text: String)] = []
            var count = 0
            while let line = try await lines.next() {
                batch.append(line)
                guard batch.count == Self.batch else { continue }
                try await enqueue(batch, on: connection)
                count += batch.count
                batch = []
            }
            if !batch.isEmpty { try await enqueue(batch, on: connection) }
            return count + batch.count
        }
    }

    private func enqueue(_ batch: [(number: Int, text: String)], on connection: Connection) async throws {
        do throws(PostgresError) {
            try await connection.query(
                """
                select koppeling.enqueue_each(jsonb_agg(line::jsonb order by number))
                from unnest(\(batch.map(\.text))) with ordinality as lines (line, number)
                """)
        } catch {
            throw await failure(error, batch)
        }
    }

    /// Names the line instead of the place in a batch.
    private func failure(_ error: PostgresError, _ batch: [(number: Int, text: String)]) async -> any Error {
        guard error.code == .server else { return error }
        let prefix = "jobs["
        if error.message.hasPrefix(prefix), let close = error.message.firstIndex(of: "]"),
            let index = Int(error.message.dropFirst(prefix.count).prefix { $0 != "]" }), batch.indices.contains(index)
        {
            let rest = error.message[error.message.index(after: close)...].drop { $0 == "." || $0 == ":" || $0 == " " }
            return Failure("Line \(batch[index].number): \(rest). Nothing was enqueued.")
        }
        if error.sqlState == "22P02", let bad = batch.first(where: { !isJSON($0.text) }) {
            return Failure("Line \(bad.number) is not JSON. Nothing was enqueued.")
        }
        return Failure("\(error). Nothing was enqueued.")
    }

    private func isJSON(_ text: String) -> Bool {
        struct Anything: Decodable { init(from decoder: any Decoder) {} }
        return (try? JSONText(text).decode(Anything.self)) != nil
    }
}
