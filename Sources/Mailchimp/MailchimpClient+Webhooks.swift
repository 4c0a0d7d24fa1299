extension MailchimpClient {
    /// Reads the webhooks of a list.
    public func webhooks(_ list: String) async throws(MailchimpError) -> [Webhook] {
        try await decoded(.get("lists", list, "webhooks"), as: WebhookPage.self).webhooks
    }

    /// Makes a webhook; Mailchimp calls the address at once, and refuses it unless it answers.
    public func addWebhook(
        _ list: String, url: String, events: Webhook.Events = .init(), sources: Webhook.Sources = .init()
    ) async throws(MailchimpError) -> Webhook {
        struct Body: Encodable {
            var url: String
            var events: Webhook.Events
            var sources: Webhook.Sources
        }
        return try await decoded(
            .write("POST", "lists", list, "webhooks", json: Body(url: url, events: events, sources: sources)))
    }

    /// Reads one webhook.
    public func webhook(_ list: String, _ id: String) async throws(MailchimpError) -> Webhook {
        try await decoded(.get("lists", list, "webhooks", id))
    }

    /// Changes what a webhook reports, whose doings, or where; what is nil stays.
    public func updateWebhook(
        _ list: String, _ id: String, url: String? = nil, events: Webhook.Events? = nil,
        sources: Webhook.Sources? = nil
    ) async throws(MailchimpError) -> Webhook {
        struct Body: Encodable {
            var url: String?
            var events: Webhook.Events?
            var sources: Webhook.Sources?
        }
        return try await decoded(
            .write("PATCH", "lists", list, "webhooks", id, json: Body(url: url, events: events, sources: sources)))
    }

    /// Takes a webhook away.
    public func deleteWebhook(_ list: String, _ id: String) async throws(MailchimpError) {
        try await perform(Call(method: "DELETE", path: ["lists", list, "webhooks", id]))
    }
}
