import Mailchimp
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
            #expect(twice.code == .other)
            try await sandbox.client.deleteWebhook(sandbox.list, made.id)
            let left = try await sandbox.client.webhooks(sandbox.list)
            #expect(left.isEmpty)
            let gone = try await failure { try await sandbox.client.deleteWebhook(sandbox.list, made.id) }
            #expect(gone.code == .notFound)
        }
    }
}
