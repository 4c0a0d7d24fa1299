import JobQueue
import Logging
import Mailchimp
import Postgres

/// Creating many contacts with one call of `POST /lists/{id}`, for addresses that are known to be absent.
extension ConnectorInstance {
    /// Creates what can be created in bulk.
    ///
    /// - Returns: the jobs that are done; the others (an address that exists after all, a refusal) are decided singly.
    func createInBulk(_ actions: [Action], _ link: Link, _ context: JobContext) async throws -> Set<Int64> {
        let list = link.listID
        let created = try await permitted(link) { () async throws -> (members: [Int64], answer: [UInt8])? in
            guard let (members, body) = try await beginCreates(actions.map(\.member)) else { return nil }
            do {
                let answer = try await call(link) {
                    try await $0.bulkCreateBytes(list, body: Array(body.utf8), skipMergeValidation: true)
                }
                return (members, answer)
            } catch let error as MailchimpError {
                // The intents stay: each member is read before anything else is tried.
                logger.warning(
                    "a bulk create failed", metadata: ["members": "\(members.count)", "code": "\(error.code)"])
                return nil
            }
        }
        guard let (members, answer) = created else { return [] }
        let jobs = Dictionary(actions.map { ($0.member, $0.job.id) }, uniquingKeysWith: { first, _ in first })
        return try await pool.transaction { connection in
            let rows = try await connection.query(
                """
                select koppeling.record_creates(\(self.id)::bigint, \(members)::bigint[],
                    \(JSONText(utf8: answer))::jsonb) as created
                """)
            let created = try rows.first?.decode("created", as: [Int64].self) ?? []
            let done = created.compactMap { jobs[$0] }
            _ = try await context.complete(
                Dictionary(uniqueKeysWithValues: done.map { ($0, .done(nil)) }), on: connection)
            return Set(done)
        }
    }

    private func beginCreates(_ members: [Int64]) async throws -> (members: [Int64], body: String)? {
        let rows = try await pool.query("select members, body from koppeling.begin_creates(\(members)::bigint[])")
        guard let row = rows.first else { return nil }
        return (try row.decode("members"), try row.decode("body"))
    }
}
