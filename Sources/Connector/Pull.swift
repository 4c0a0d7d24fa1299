import FoundationEssentials
import IO
import JobQueue
import Mailchimp
import Postgres

/// What a pull's job says.
struct PullArguments: Codable, Sendable {
    var instance: Int64
    var full: Bool?
}

/// Reads what changed in an instance's list, and queues the next reading.
struct PullHandler: JobHandler {
    let instance: ConnectorInstance
    var kinds: Set<String> { ["instance.pull"] }

    func run(_ jobs: [Job], _ context: JobContext) async throws -> [Int64: Outcome] {
        let full = jobs.contains { (try? $0.args.decode(PullArguments.self))?.full == true }
        do {
            try await instance.pull(full: full)
            try await instance.requestNextPull()
            return jobs.outcomes(.done(nil))
        } catch let error as MailchimpError where error.advice == .waitForAccount {
            return jobs.outcomes(.snooze(.seconds(60)))
        }
    }
}

extension ConnectorInstance {
    /// Mailchimp's largest page.
    private static var pageSize: Int { 1000 }

    /// Reads the list: what changed since the last time, or all of it when asked for or due.
    ///
    /// Two passes, since Mailchimp leaves archived contacts out of the ordinary listing. The pull is complete, and the
    /// cursor moves, only when both have reached their last page.
    /// - Throws: `MailchimpError` when a page cannot be read; what was taken in before stays.
    func pull(full: Bool) async throws {
        guard let link = try await link(), link.enabled else { return }
        let isSweep = full || link.sweepIsDue
        let sweep = isSweep ? try await beginSweep() : 0
        do {
            var latest: Date?
            for status in [nil, MemberStatus.archived] {
                let seen = try await readPages(status: status, since: isSweep ? nil : link.cursor, sweep: sweep, link)
                latest = [latest, seen].compactMap { $0 }.max()
            }
            if isSweep, try await !lookUpMissing(sweep: sweep, link) { return }
            try await finishPull(latest: latest, isSweep: isSweep)
            if isSweep { try await ensureWebhook(link) }
        } catch let error as MailchimpError {
            switch error.advice {
            case .waitForAccount: try await credentialRefused(link)
            default:
                if error.code == .notFound { try await listIsGone("Mailchimp does not know the list any more") }
            }
            throw error
        }
    }

    /// Queues the pull that follows: the guarantee behind the hooks, and more often where there are none.
    func requestNextPull() async throws {
        let minutes = webhooks == nil ? 2 : 10
        try await pool.query(
            """
            select koppeling.request_pull(\(self.id)::bigint, false,
                koppeling.now() + make_interval(mins => \(minutes)::int))
            """)
    }

    /// Reads page after page; returns the latest change seen, in Mailchimp's own time.
    private func readPages(
        status: MemberStatus?, since: Date?, sweep: Int64, _ link: Link
    ) async throws -> Date? {
        var latest: Date?
        var offset = 0
        let list = link.listID
        while true {
            let readAt = try await now()
            let filter = MemberFilter(
                status: status, sinceLastChanged: since, offset: offset, count: Self.pageSize,
                sort: .lastChanged)
            let page = try await call(link) { try await $0.membersPageBytes(list, filter) }
            let rows = try await pool.transaction { connection in
                try await connection.query(
                    """
                    select members, latest
                    from koppeling.observe_page(\(self.id)::bigint,
                        \(JSONText(utf8: page))::jsonb, \(readAt)::timestamptz,
                        \(sweep)::bigint)
                    """)
            }
            guard let row = rows.first else { return latest }
            let count = Int(try row.decode("members", as: Int64.self))
            latest = [latest, try row.decode("latest", as: Date?.self)].compactMap { $0 }.max()
            guard count == Self.pageSize else { return latest }
            offset += count
        }
    }

    private func now() async throws -> Date {
        try await pool.query("select koppeling.now()").scalar()
    }

    private func beginSweep() async throws -> Int64 {
        let rows = try await pool.query(
            """
            update koppeling.connector_instance set sweep = sweep + 1 where id = \(self.id)::bigint returning sweep
            """)
        return try rows.first?.decode("sweep") ?? 1
    }

    private func finishPull(latest: Date?, isSweep: Bool) async throws {
        try await pool.withConnection { connection in
            // The overlap: a page that changed while it was read is read again next time.
            try await connection.execute(
                """
                update koppeling.connector_instance
                set pull_cursor = greatest(
                        coalesce(\(latest)::timestamptz - interval '10 minutes', pull_cursor,
                                 koppeling.now() - interval '1 day'), pull_cursor),
                    last_pull_at = koppeling.now(),
                    last_sweep_at = case when \(isSweep)::boolean then koppeling.now() else last_sweep_at end
                where id = \(self.id)::bigint
                """)
        }
    }

    /// Looks up, by its id, each contact that the sweep did not meet.
    ///
    /// - Returns: false when so many are missing that this is no news of persons but an incident.
    private func lookUpMissing(sweep: Int64, _ link: Link) async throws -> Bool {
        let rows = try await pool.query(
            """
            select count(*) filter (where sweep < \(sweep)::bigint) as missing, count(*) as known
            from koppeling.audience_member
            where instance_id = \(self.id)::bigint and contact_id is not null and status <> 'absent'
            """)
        guard let row = rows.first else { return true }
        let missing: Int64 = try row.decode("missing")
        let known: Int64 = try row.decode("known")
        guard missing <= max(25, known / 10) else {
            try await listIsGone("\(missing) of \(known) known contacts are not in the list any more")
            return false
        }
        let gone = try await pool.query(
            """
            select id from koppeling.missing_members(\(self.id)::bigint, \(sweep)::bigint, \(Int(missing))::int)
            """)
        for row in gone {
            let member: Int64 = try row.decode("id")
            if let state = try await MemberState.load(member, from: pool) { try await read(state, link) }
        }
        return true
    }

    /// A whole list that vanished is an incident: no person's status changes, and everything stops until somebody looks.
    private func listIsGone(_ reason: String) async throws {
        try await pause(because: reason)
        try await pool.query(
            """
            select koppeling.open_task('listGone', \(self.id)::bigint, null,
                jsonb_build_object('reason', \(reason)::text))
            """)
    }
}
