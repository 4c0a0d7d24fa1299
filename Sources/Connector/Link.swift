import FoundationEssentials
import Mailchimp
import Postgres

/// One reading of an instance's row with the client that speaks for its account: what a batch of work starts from.
struct Link: Sendable {
    let client: MailchimpClient
    /// Whose connections Mailchimp counts.
    let permit: String
    let accountID: Int64
    let listID: String
    let targetGroupID: Int64
    let enabled: Bool
    /// Nothing that changes anything there is sent.
    let isDryRun: Bool
    let authenticated: Bool
    let pausedReason: String?
    /// Whether the last complete pull is recent enough for a call that can subscribe: 15 minutes, less one for the call.
    let pulledRecently: Bool
    /// Where the next incremental pull begins, in Mailchimp's own time; nil before the first sweep.
    let cursor: Date?
    let sweepIsDue: Bool
    let webhookSecret: [UInt8]

    /// Reads the instance and opens its account's credential.
    ///
    /// - Returns: nil when the instance is gone.
    /// - Throws: ``ConnectorError`` when the credential cannot be opened.
    static func load(instance: Int64, pool: Pool, accounts: Accounts) async throws -> Link? {
        let rows = try await pool.query(
            """
            select i.account_id, i.list_id, i.target_group_id, i.enabled, i.dry_run, a.authenticated, i.paused_reason,
                   koppeling.pulled_recently(i.last_pull_at) as pulled_recently,
                   i.pull_cursor as cursor,
                   i.pull_cursor is null or i.last_sweep_at is null
                       or i.last_sweep_at < koppeling.now() - interval '7 days'
                       or i.last_pull_at < koppeling.now() - interval '1 day'
                       -- Written before the clock went back.
                       or greatest(i.last_pull_at, i.last_sweep_at) > koppeling.now() as sweep_is_due,
                   i.webhook_secret
            from koppeling.connector_instance i
            join koppeling.mailchimp_account a on a.id = i.account_id
            where i.id = \(instance)::bigint
            """)
        guard let row = rows.first else { return nil }
        let account: Int64 = try row.decode("account_id")
        let (client, permit) = try await accounts.client(account: account)
        return Link(
            client: client, permit: permit, accountID: account, listID: try row.decode("list_id"),
            targetGroupID: try row.decode("target_group_id"), enabled: try row.decode("enabled"),
            isDryRun: try row.decode("dry_run"),
            authenticated: try row.decode("authenticated"), pausedReason: try row.decode("paused_reason"),
            pulledRecently: try row.decode("pulled_recently"), cursor: try row.decode("cursor"),
            sweepIsDue: try row.decode("sweep_is_due"), webhookSecret: try row.decode("webhook_secret"))
    }
}
