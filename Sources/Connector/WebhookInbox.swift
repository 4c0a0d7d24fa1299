import FoundationEssentials
import IO
import JobQueue
import Logging
import Mailchimp
import Postgres

/// Where Mailchimp reaches this deployment's webhook door.
public struct WebhookAddress: Sendable {
    /// The deployment's public address, without a path.
    public let publicURL: String

    /// The address of a deployment, such as `https://koppeling.example.org`.
    public init(publicURL: String) {
        self.publicURL = publicURL.hasSuffix("/") ? String(publicURL.dropLast()) : publicURL
    }

    func url(instance: Int64, secret: String) -> String {
        "\(publicURL)/webhooks/mailchimp/\(instance)/\(secret)"
    }
}

/// Works through the hooks that came in: each is a hint to read a contact again.
struct WebhookHandler: JobHandler {
    let instance: ConnectorInstance
    var kinds: Set<String> { ["instance.webhooks"] }

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        while try await instance.readHooks() {}
        return jobs.outcomes(.done(nil))
    }
}

extension ConnectorInstance {
    private struct Hook {
        var id: Int64
        var body: JSONText
        var addresses: [String]
    }

    /// How many hooks are taken at a time.
    private static var batch: Int { 100 }

    /// Works through the oldest hooks; false when none are left.
    ///
    /// - Throws: `MailchimpError` when a contact cannot be read for now; its hooks stay.
    func readHooks() async throws -> Bool {
        guard let link = try await link() else { return false }
        let hooks = try await waitingHooks()
        // A contact is read once for all its hooks: they came before the reading.
        var subscribed: [String: Bool] = [:]
        for hook in hooks {
            for address in hook.addresses {
                if subscribed[address] == nil { subscribed[address] = try await isSubscribed(address, link) }
                // Only a reading that says subscribed overrules a no that a hook brought.
                if subscribed[address] != true { try await believe(hook) }
            }
            try await pool.execute(
                "update koppeling.webhook_inbox set processed_at = koppeling.now() where id = \(hook.id)::bigint")
        }
        return hooks.count == Self.batch
    }

    /// Reads the contact that a hook tells of and stores what Mailchimp says.
    ///
    /// - Returns: whether it is subscribed now; false also when the account's credential is refused.
    private func isSubscribed(_ address: String, _ link: Link) async throws -> Bool {
        guard link.authenticated else { return false }
        let list = link.listID
        do {
            guard let member = try await call(link, { try await $0.member(list, .address(address)) }) else {
                return false
            }
            try await pool.transaction { connection in
                try await connection.query(
                    """
                    select koppeling.stage_members(\(self.id)::bigint, array_remove(array[koppeling.observe_member(
                        \(self.id)::bigint, \(try JSONText(encoding: member))::jsonb, true)], null))
                    """)
            }
            return member.status == .subscribed
        } catch let error as MailchimpError where error.advice == .waitForAccount {
            try await credentialRefused(link)
            return false
        }
    }

    private func believe(_ hook: Hook) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.believe_webhook(\(self.id)::bigint, \(hook.body)::jsonb)")
        }
    }

    private func waitingHooks() async throws -> [Hook] {
        let rows = try await pool.query(
            """
            select id, body, array_remove(array[body #>> '{data,email}', body #>> '{data,new_email}'], null) as addresses
            from koppeling.webhook_inbox
            where instance_id = \(self.id)::bigint and processed_at is null
            order by id
            limit \(Self.batch)::int
            """)
        return try rows.map { row in
            Hook(id: try row.decode("id"), body: try row.decode("body"), addresses: try row.decode("addresses"))
        }
    }

    /// Makes sure that Mailchimp has our hook; without a public address there is none, and pulls come more often.
    func ensureWebhook(_ link: Link) async throws {
        guard let webhooks else { return }
        let secret = try accounts.openWebhookSecret(link.webhookSecret, list: link.listID)
        let url = webhooks.url(instance: id, secret: secret)
        let list = link.listID
        let existing = try await call(link) { try await $0.webhooks(list) }
        guard !existing.contains(where: { $0.url == url }) else { return }
        _ = try await call(link) { client in
            try await client.addWebhook(
                list, url: url, events: Webhook.Events(), sources: Webhook.Sources(user: true, admin: true, api: false))
        }
        logger.info("the webhook was made")
    }
}
