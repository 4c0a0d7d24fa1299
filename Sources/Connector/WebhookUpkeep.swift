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

    /// What an instance's address ends with, wherever the deployment is reached.
    static func path(instance: Int64, secret: String) -> String { "/webhooks/mailchimp/\(instance)/\(secret)" }

    func url(instance: Int64, secret: String) -> String {
        publicURL + Self.path(instance: instance, secret: secret)
    }
}

/// Keeps the instance's webhook at Mailchimp as it should be.
extension ConnectorInstance {
    /// How the row says that the webhook is.
    private struct Record {
        let id: String?
        let isDue: Bool
        /// Nothing came by it for so long that Mailchimp may have switched it off, which it shows nobody.
        let isSilent: Bool
    }

    /// Makes the webhook, or makes it again when Mailchimp has it no more; looks once an hour and when the public address
    /// changed.
    ///
    /// One that Mailchimp switched off, because the door was shut for long, looks like any other: so one by which nothing
    /// came for a day is made anew.
    /// What goes wrong is no failure of a pull: webhooks are a hint, and without one pulls come more often.
    /// - Returns: whether Mailchimp has our webhook.
    func keepWebhook() async throws -> Bool {
        guard let webhooks, let link = try await link(), link.enabled, link.authenticated, !link.isDryRun
        else { return false }
        guard let record = try await record(webhooks) else { return false }
        guard record.isDue else { return record.id != nil }
        try await forgetOldHooks()
        do {
            try await keep(record, webhooks, link)
            return true
        } catch let error as MailchimpError {
            if error.isCancellation { throw CancellationError() }
            logger.warning(
                "the webhook cannot be made or looked up, so pulls come more often: see that KOPPELING_PUBLIC_URL is reached",
                metadata: ["error": "\(error)"])
            return false
        }
    }

    private func keep(_ record: Record, _ webhooks: WebhookAddress, _ link: Link) async throws {
        let secret = try accounts.vault.open(link.webhookSecret, for: Purpose.webhook(list: link.listID))
        let (url, path) = (
            webhooks.url(instance: id, secret: secret), WebhookAddress.path(instance: id, secret: secret)
        )
        let list = link.listID
        // The secret is ours alone, so whatever bears it is ours: also what another public address left behind.
        let ours = try await call(link) { try await $0.webhooks(list) }.filter { $0.url.hasSuffix(path) }
        let good = ours.first { $0.id == record.id && $0.url == url && $0.tellsEverything && !record.isSilent }
        for hook in ours where good == nil && hook.url == url { try await delete(hook, link) }
        if good == nil {
            let made = try await call(link) { try await $0.addWebhook(list, url: url) }
            try await store(made, webhooks, list: list)
            logger.info("the webhook was made", metadata: ["signed": "\(made.signingSecret != nil)"])
        } else {
            try await pool.execute(
                """
                update koppeling.connector_instance
                set webhook_checked_at = koppeling.now(), webhook_public_url = \(webhooks.publicURL)::text
                where id = \(self.id)::bigint
                """)
        }
        for hook in ours where hook.url != url { try await delete(hook, link) }
    }

    /// Takes all webhooks of this instance away from its list, when the link has ended.
    func removeWebhooks(_ link: Link) async throws {
        let secret = try accounts.vault.open(link.webhookSecret, for: Purpose.webhook(list: link.listID))
        let path = WebhookAddress.path(instance: id, secret: secret)
        let list = link.listID
        for hook in try await call(link, { try await $0.webhooks(list) }) where hook.url.hasSuffix(path) {
            try await delete(hook, link)
        }
    }

    private func record(_ webhooks: WebhookAddress) async throws -> Record? {
        let rows = try await pool.query(
            """
            select webhook_id,
                   webhook_id is null or webhook_public_url is distinct from \(webhooks.publicURL)::text
                       or webhook_checked_at is null or webhook_checked_at < koppeling.now() - interval '1 hour' as is_due,
                   coalesce(webhook_heard_at < koppeling.now() - interval '1 day', true) as is_silent
            from koppeling.connector_instance
            where id = \(self.id)::bigint
            """)
        guard let row = rows.first else { return nil }
        return Record(
            id: try row.decode("webhook_id"), isDue: try row.decode("is_due"), isSilent: try row.decode("is_silent"))
    }

    /// The secret is shown this once: a webhook whose secret was not stored is made anew.
    private func store(_ hook: Webhook, _ webhooks: WebhookAddress, list: String) async throws {
        let sealed = try hook.signingSecret.map { try accounts.vault.seal($0.text, for: Purpose.signature(list: list)) }
        try await pool.execute(
            """
            update koppeling.connector_instance
            set webhook_id = \(hook.id)::text, webhook_signing_secret = \(sealed)::bytea,
                webhook_public_url = \(webhooks.publicURL)::text, webhook_checked_at = koppeling.now(),
                webhook_heard_at = koppeling.now()
            where id = \(self.id)::bigint
            """)
    }

    /// Hooks that were worked through are of no use after a week.
    private func forgetOldHooks() async throws {
        try await pool.execute(
            """
            delete from koppeling.webhook_inbox
            where id in (
                select id from koppeling.webhook_inbox
                where instance_id = \(self.id)::bigint and processed_at < koppeling.now() - interval '7 days'
                limit 10000)
            """)
    }

    private func delete(_ hook: Webhook, _ link: Link) async throws {
        let list = link.listID
        do {
            try await call(link) { try await $0.deleteWebhook(list, hook.id) }
        } catch let error as MailchimpError where error.code == .notFound {
            return
        }
    }
}

extension Webhook {
    /// Whether it reports all that people do; what Mailchimp does not say counts as on.
    fileprivate var tellsEverything: Bool {
        (events.map { $0.subscribe && $0.unsubscribe && $0.profile && $0.cleaned && $0.upemail } ?? true)
            && (sources.map { $0.user && $0.admin } ?? true)
    }
}
