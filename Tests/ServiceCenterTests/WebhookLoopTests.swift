import Connector
import HTTPClient
import JobQueue
import MailchimpSandbox
import Postgres
import ServiceCenter
import TestSupport
import Testing

/// A webhook's whole way: made at the sandbox by a pull, signed there, and checked at our own door.
@Suite("Webhooks, from making to delivery", .database)
struct WebhookLoopTests {
    /// A linked list whose webhook leads to a service center of ours, and a worker that reads it.
    private struct Loop: Sendable {
        let door: Door
        let sandbox: SandboxAtWork
        let instances: Instances
        let accounts: Accounts
        let list: String
        let pool: Pool

        /// The webhooks that the sandbox has for the list.
        func hooks() async throws -> [Hook] {
            try await sandbox.control("GET", "lists/\(list)").decode(Listing.self).webhooks
        }

        /// Has a worker at this public address read the list until the condition holds.
        func pull(
            publicURL: String, until what: String, at location: SourceLocation = #_sourceLocation,
            _ condition: () async throws -> Bool
        ) async throws {
            let logger = CapturedLog().logger
            let worker = Worker(pool: pool, logger: logger)
            let switchboard = Switchboard(
                pool: pool, worker: worker, accounts: accounts, webhooks: WebhookAddress(publicURL: publicURL),
                logger: logger)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await worker.run() }
                group.addTask { try? await switchboard.run() }
                let result: Result<Void, any Error>
                do {
                    try await instances.requestPull(instance: "Nieuwsbrief", full: false)
                    try await eventually(what, within: .seconds(30), at: location, condition)
                    result = .success(())
                } catch {
                    result = .failure(error)
                }
                group.cancelAll()
                while await group.nextResult() != nil {}
                try result.get()
            }
        }
    }

    private struct Hook: Decodable, Equatable {
        var id: String
        var url: String
    }

    private struct Listing: Decodable { var webhooks: [Hook] }

    private func run(signs: Bool = true, _ body: (Loop) async throws -> Void) async throws {
        try await SandboxAtWork.run(switches: { $0.signsWebhooks = signs }) { sandbox in
            let list = await sandbox.server.addList(name: "Nieuwsbrief")
            let pool = Pool(TestDatabase.current.settings, maximum: 8)
            let accounts = Accounts(pool: pool, vault: sandbox.vault, http: sandbox.http, rootOverride: sandbox.root)
            let instances = Instances(pool: pool, accounts: accounts, vault: sandbox.vault)
            let account = try await accounts.connect(apiKey: SandboxAtWork.key, name: "Instituut")
            _ = try await instances.link(
                account: account, list: list, name: nil, emailKind: "zakelijk", actor: "test")
            try await instances.setEnabled(true, instance: "Nieuwsbrief")
            try await withServiceCenter(vault: sandbox.vault) { door in
                try await body(
                    Loop(
                        door: door, sandbox: sandbox, instances: instances, accounts: accounts, list: list, pool: pool))
            }
            await pool.close()
        }
    }

    private func count(_ query: Query) async throws -> Int {
        try await TestDatabase.current.pool.query(query).scalar()
    }

    private func storedHook() async throws -> String? {
        try await TestDatabase.current.pool.query("select webhook_id from koppeling.connector_instance").scalar()
    }

    @Test(arguments: [true, false]) func `what a contact does arrives at the door, signed or not as it was agreed`(
        signs: Bool
    ) async throws {
        try await run(signs: signs) { loop in
            try await loop.sandbox.control(
                "POST", "lists/\(loop.list)/contacts", #"{"email_address": "ann@post.koppeling.nl"}"#)
            try await loop.pull(publicURL: loop.door.base, until: "the webhook is made and known") {
                try await storedHook() != nil
            }
            let (made, known) = (try await loop.hooks().map(\.id), try await storedHook())
            #expect(made == [known])
            let signed = try await count(
                "select count(*) from koppeling.connector_instance where webhook_signing_secret is not null")
            #expect(signed == (signs ? 1 : 0))
            try await loop.sandbox.control(
                "POST", "lists/\(loop.list)/members/ann@post.koppeling.nl/contact/unsubscribe", "{}")
            try await eventually("the delivery is stored") {
                try await count("select count(*) from koppeling.webhook_inbox where body ->> 'type' = 'unsubscribe'")
                    == 1
            }
            // Whoever learned the address alone can tell us nothing, where deliveries are signed.
            let path = try #require(try await loop.hooks().first).url.dropFirst(loop.door.base.count)
            let forged = try await loop.door.send(
                "POST", String(path), type: "application/x-www-form-urlencoded", body: "type=unsubscribe")
            #expect(forged.status == (signs ? 403 : 200))
        }
    }

    @Test func `a link that gets another list takes its webhook away from the old one, and its address is nobody's`()
        async throws
    {
        try await run { loop in
            try await loop.pull(publicURL: loop.door.base, until: "the webhook is made") {
                try await storedHook() != nil
            }
            let path = try #require(try await loop.hooks().first).url.dropFirst(loop.door.base.count)
            let other = await loop.sandbox.server.addList(name: "Opnieuw")
            try await loop.instances.setEnabled(false, instance: "Nieuwsbrief")
            let relinked = try await loop.instances.relink(instance: "Nieuwsbrief", list: other, actor: "test")
            #expect(relinked.oldList == .read)
            #expect(try await loop.hooks().isEmpty)
            let late = try await loop.door.send(
                "POST", String(path), type: "application/x-www-form-urlencoded", body: "type=unsubscribe")
            #expect(late.status == 404)
            try await loop.instances.setEnabled(true, instance: "Nieuwsbrief")
            try await loop.pull(publicURL: loop.door.base, until: "the new list has one") {
                try await storedHook() != nil
            }
        }
    }

    @Test
    func `a webhook that is gone, silent for a day, or leads to a former address is made again, and no other stays`()
        async throws
    {
        try await run { loop in
            try await loop.pull(publicURL: loop.door.base, until: "the webhook is made") {
                try await storedHook() != nil
            }
            let first = try #require(try await loop.hooks().first)
            // It is looked at once an hour.
            let later: Query = """
                update koppeling.connector_instance set webhook_checked_at = koppeling.now() - interval '61 minutes'
                """
            try await loop.sandbox.delete("lists/\(loop.list)/webhooks/\(first.id)")
            try await loop.pool.execute(later)
            try await loop.pull(publicURL: loop.door.base, until: "it is made again") {
                let (stored, hooks) = (try await storedHook(), try await loop.hooks().map(\.id))
                return stored != first.id && hooks == [stored]
            }
            let second = try await storedHook()
            try await loop.pool.execute(later)
            try await loop.pool.execute(
                "update koppeling.connector_instance set webhook_heard_at = koppeling.now() - interval '25 hours'")
            try await loop.pull(publicURL: loop.door.base, until: "the silent one is made anew") {
                let (stored, hooks) = (try await storedHook(), try await loop.hooks().map(\.id))
                return stored != second && hooks == [stored]
            }
            // The same machine by another name: at once, whenever it was looked at.
            let other = loop.door.base.replacing("127.0.0.1", with: "localhost")
            try await loop.pull(publicURL: other, until: "the new address alone is left") {
                let hooks = try await loop.hooks()
                return hooks.count == 1 && hooks[0].url.hasPrefix(other)
            }
            try await eventually("it is known") {
                let (stored, hooks) = (try await storedHook(), try await loop.hooks())
                return stored == hooks.first?.id
            }
        }
    }

    @Test func `a door that Mailchimp does not reach is no failure of the pull`() async throws {
        try await run { loop in
            try await loop.pull(publicURL: "http://127.0.0.1:9", until: "the list is read all the same") {
                try await count(
                    """
                    select count(*) from koppeling.connector_instance i
                    join koppeling.job j on j.queue = koppeling.instance_queue(i.id) and j.kind = 'instance.pull'
                    where i.last_pull_at is not null and j.run_at > koppeling.now() + interval '1 minute'
                      and j.run_at < koppeling.now() + interval '3 minutes'
                    """) == 1
            }
            #expect(try await storedHook() == nil)
        }
    }
}
