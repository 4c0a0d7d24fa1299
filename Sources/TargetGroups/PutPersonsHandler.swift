public import JobQueue
public import Postgres

/// Puts the persons that other systems enqueued; a job's args are a list of persons, or one person.
///
/// All jobs of a batch are put in one transaction with their completion. When one of them is faulty they are put one by
/// one, and the faulty ones are rejected with the field that is wrong.
public struct PutPersonsHandler: JobHandler {
    private let pool: Pool

    /// A handler for the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// The kind `persons.put`.
    public var kinds: Set<String> { ["persons.put"] }

    /// Puts the persons of all the jobs, in the order of the jobs.
    public func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        let jobs = jobs.sorted { $0.id < $1.id }
        do {
            try await put(jobs, context)
            return [:]
        } catch let error as PostgresError where error.isAboutInput {
            guard jobs.count > 1 else { return Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, error.rejection) }) }
        } catch is LostClaim {
            guard jobs.count > 1 else { return [:] }
        }
        var outcomes: [Int64: Outcome] = [:]
        for job in jobs {
            try Task.checkCancellation()
            do {
                try await put([job], context)
            } catch let error as PostgresError where error.isAboutInput {
                outcomes[job.id] = error.rejection
            } catch is LostClaim {
                continue
            }
        }
        return outcomes
    }

    private func put(_ jobs: [Job], _ context: JobContext) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.put_persons((
                    select coalesce(jsonb_agg(p.person order by j.place, p.place), '[]')
                    from unnest(\(jobs.map(\.args))::jsonb[]) with ordinality as j (args, place)
                    cross join lateral jsonb_array_elements(
                        case jsonb_typeof(j.args) when 'array' then j.args else jsonb_build_array(j.args) end)
                        with ordinality as p (person, place)))
                """)
            let outcomes = Dictionary(uniqueKeysWithValues: jobs.map { ($0.id, Outcome.done()) })
            // Somebody else has the job by now and will put its persons: what is put here is put back.
            guard try await context.complete(outcomes, on: connection).count == jobs.count else { throw LostClaim() }
        }
    }
}

/// A job was given to another worker meanwhile.
private struct LostClaim: Error {}

extension PostgresError {
    /// Whether the persons are to blame, so that trying again is of no use.
    fileprivate var isAboutInput: Bool { sqlState.map { $0.hasPrefix("22") || $0.hasPrefix("23") } ?? false }

    fileprivate var rejection: Outcome { .rejected(reason: message) }
}
