import FoundationEssentials
import Mailchimp
import MailchimpSandbox
import TestSupport
import Testing

@Suite struct WebhookCallTests {
    @Test func `A webhook is made, listed and taken away`() async throws {
        try await Sandbox.run { sandbox in
            // The sandbox itself answers the question with which Mailchimp checks an address.
            let url = "http://127.0.0.1:\(sandbox.port)/sandbox"
            let made = try await sandbox.client.addWebhook(sandbox.list, url: url)
            #expect(made.url == url)
            #expect(made.events == .init())
            #expect(made.sources == .init())
            let listed = try await sandbox.client.webhooks(sandbox.list)
            #expect(listed.map(\.id) == [made.id])
            let twice = try await failure { _ = try await sandbox.client.addWebhook(sandbox.list, url: url) }
            #expect(twice.code == .alreadyThere)
            let events = Webhook.Events(subscribe: false, profile: false, campaign: true)
            let changed = try await sandbox.client.updateWebhook(sandbox.list, made.id, events: events)
            #expect(changed.events == events)
            #expect(changed.sources == .init() && changed.url == url)
            // What a report is signed with is said once.
            let read = try await sandbox.client.webhook(sandbox.list, made.id)
            #expect(read.events == events && read.signingSecret == nil)
            try await sandbox.client.deleteWebhook(sandbox.list, made.id)
            let left = try await sandbox.client.webhooks(sandbox.list)
            #expect(left.isEmpty)
            let gone = try await failure { try await sandbox.client.deleteWebhook(sandbox.list, made.id) }
            #expect(gone.code == .notFound)
        }
    }

    @Test func `A report is signed with the secret that whoever made the webhook was told`() async throws {
        let receiver = try RawServer { $0.answerAll() }
        try await Sandbox.run { sandbox in
            let made = try await sandbox.client.addWebhook(sandbox.list, url: receiver.url("/hook"))
            let secret = try #require(made.signingSecret)
            #expect(made.isSigned == true)
            try await sandbox.add("ann@people.test")
            try await sandbox.contact("ann@people.test", "unsubscribe")
            try await eventually("the report arrives") { receiver.requests.contains { $0.hasPrefix("POST /hook") } }
            let request = try #require(receiver.requests.first { $0.hasPrefix("POST /hook") })
            let parts = request.split(separator: "\r\n\r\n", maxSplits: 1)
            let name = "x-mailchimp-signature: "
            let line = try #require(parts[0].split(separator: "\r\n").first { $0.lowercased().hasPrefix(name) })
            let header = String(line.dropFirst(name.count))
            let body = Array(parts[1].utf8)
            #expect(secret.verdict(on: header, of: body, at: Date()) == .valid)
            #expect(secret.verdict(on: header, of: body + [0], at: Date()) == .wrong)
            #expect(secret.verdict(on: header, of: body, at: Date() + 301 + 60) == .stale)
            #expect(SigningSecret("another")?.verdict(on: header, of: body, at: Date()) == .wrong)
        }
    }

    @Test func `A webhook without signatures says so`() async throws {
        var switches = SandboxSwitches()
        switches.signsWebhooks = false
        try await Sandbox.run(switches: switches) { sandbox in
            let url = "http://127.0.0.1:\(sandbox.port)/sandbox"
            let made = try await sandbox.client.addWebhook(sandbox.list, url: url)
            #expect(made.signingSecret == nil && made.isSigned != true)
        }
    }
}
