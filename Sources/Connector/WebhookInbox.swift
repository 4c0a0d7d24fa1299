import FoundationEssentials
import IO
import JobQueue
import Logging
import Mailchimp
import Postgres

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
                // Only a reading that says subscribed overrules a no that a hook brought, and not if that is our doing.
                try await subscribed[address] == true ? restore(hook) : believe(hook)
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

    private func restore(_ hook: Hook) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.restore_by_hook(\(self.id)::bigint, \(hook.id)::bigint)")
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
}
