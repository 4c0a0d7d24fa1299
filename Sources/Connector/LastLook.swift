import FoundationEssentials
public import JobQueue
import Logging
import Mailchimp
public import Postgres

/// Reads a list whose link has ended once more: somebody may have said no there between the last reading and the end.
struct LastLook: Sendable {
    let pool: Pool
    let accounts: Accounts
    let permits: Permits

    /// A link that has ended.
    struct FormerLink: Sendable {
        var id: Int64
        var instance: Int64
        var account: Int64
        var list: String
        var listName: String
        var targetGroup: Int64
        var readUntil: Date?
    }

    /// Takes in what was said in the list of an instance that is no more.
    func look(formerInstance instance: Int64) async throws {
        guard let former = try await find(instance: instance) else { return }
        try await look(former)
    }

    /// Takes in what was said in the list of a former link.
    ///
    /// - Throws: `MailchimpError` when a page cannot be read; what was taken in before stays.
    func look(_ former: FormerLink) async throws {
        let (client, permit) = try await accounts.client(account: former.account)
        let old = ConnectorInstance(
            id: former.instance, pool: pool, accounts: accounts, permits: permits, webhooks: nil,
            logger: Instances.silence)
        let link = Link(reading: former, client: client, permit: permit)
        _ = try await old.readPages(status: nil, since: former.readUntil, link) { page in
            try await pool.transaction { connection in
                try await connection.query(
                    "select koppeling.observe_former(\(former.id)::bigint, \(JSONText(utf8: page.raw.bytes))::jsonb)")
            }
            return nil
        }
    }

    /// The former link of this number, or that this instance was, when its list is still to be looked at.
    func find(link: Int64? = nil, instance: Int64? = nil) async throws -> FormerLink? {
        let rows = try await pool.query(
            """
            select f.id, f.instance_id, f.account_id, f.list_id, f.list_name, f.target_group_id, f.read_until
            from koppeling.former_link f
            where (f.id = \(link)::bigint or f.instance_id = \(instance)::bigint) and f.looked_at is null
            """)
        return try rows.first.map { row in
            FormerLink(
                id: try row.decode("id"), instance: try row.decode("instance_id"),
                account: try row.decode("account_id"), list: try row.decode("list_id"),
                listName: try row.decode("list_name"), targetGroup: try row.decode("target_group_id"),
                readUntil: try row.decode("read_until"))
        }
    }

    /// Says that nothing is left to look for.
    func finish(_ former: FormerLink) async throws {
        try await pool.query("select koppeling.finish_last_look(\(former.id)::bigint)")
    }
}

/// Looks at lists whose link has ended until each was read to its end, however long it takes.
public struct LastLookHandler: SingleJobHandler {
    private struct Arguments: Decodable {
        var link: Int64
    }

    private let lastLook: LastLook

    /// For the former links of a database; the worker counts the calls.
    public init(pool: Pool, accounts: Accounts, worker: Worker) {
        lastLook = LastLook(pool: pool, accounts: accounts, permits: Permits(pool: pool, worker: worker))
    }

    /// `link.look`.
    public var kinds: Set<String> { ["link.look"] }

    /// Looks; while Mailchimp does not answer it is put off.
    public func run(_ job: Job, _ context: JobContext) async throws -> Outcome {
        guard let arguments = try? job.args.decode(Arguments.self) else {
            return .rejected(reason: #"args must be {"link": number}"#)
        }
        guard let former = try await lastLook.find(link: arguments.link) else { return .done(nil) }
        if try await lastLook.accounts.deployment.check() != nil { return .snooze(.seconds(60)) }
        do {
            try await lastLook.look(former)
        } catch let error as MailchimpError where error.code != .notFound {
            return .snooze(.seconds(error.advice == .waitForAccount ? 3600 : 600))
        } catch let error as ConnectorError where error.code == .notFound {
            return .rejected(
                reason: "list '\(former.listName)' could not be read once more after its link ended, since its account is not "
                    + "connected any more: look in Mailchimp who unsubscribed there then, and record it with "
                    + "`koppeling person unsubscribe`")
        } catch is MailchimpError {
            // The list is gone.
        }
        try await lastLook.finish(former)
        return .done(nil)
    }
}

extension Link {
    /// A list that is linked no more: it is read, and nothing else.
    fileprivate init(reading former: LastLook.FormerLink, client: MailchimpClient, permit: String) {
        self.init(
            client: client, permit: permit, accountID: former.account, listID: former.list,
            targetGroupID: former.targetGroup, enabled: false, isDryRun: true, authenticated: true, pausedReason: nil,
            pulledRecently: false, cursor: former.readUntil, sweepIsDue: false, webhookSecret: [])
    }
}
