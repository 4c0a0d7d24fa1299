import FoundationEssentials
import IO
import JobQueue
import Logging
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
            try await instance.requestNextPull(hasWebhook: try await instance.keepWebhook())
            return jobs.outcomes(.done(nil))
        } catch let error as MailchimpError where error.advice == .waitForAccount {
            return jobs.outcomes(.snooze(.seconds(60)))
        }
    }
}

extension ConnectorInstance {
    /// Reads the list: what changed since the last time, or all of it when asked for or due.
    ///
    /// Two passes, since Mailchimp leaves archived contacts out of the ordinary listing. The pull is complete, and the
    /// cursor moves, only when both have reached their last page.
    /// - Throws: `MailchimpError` when a page cannot be read; what was taken in before stays.
    func pull(full: Bool) async throws {
        guard let link = try await link(), link.enabled else { return }
        let isSweep = full || link.sweepIsDue
        let began = try await now()
        let sweep = isSweep ? try await beginSweep() : 0
        do {
            let latest = try await readChanges(since: isSweep ? nil : link.cursor, sweep: sweep, link)
            if isSweep, let latest {
                // Who changed while all was read was not met where he had been: he is no more missing than the others.
                _ = try await readChanges(since: latest + 1, sweep: sweep, link)
            }
            if isSweep, try await !lookUpMissing(sweep: sweep, link) { return }
            try await finishPull(latest: latest, began: began, isSweep: isSweep)
            if isSweep { try await readFields(link) }
        } catch let error as MailchimpError {
            switch error.advice {
            case .waitForAccount: try await credentialRefused(link)
            default:
                if error.code == .notFound { try await listIsGone("Mailchimp does not know the list any more") }
            }
            throw error
        }
    }

    /// Reads what changed since then in both passes, all of it without a moment; returns the latest change seen.
    private func readChanges(since: Date?, sweep: Int64, _ link: Link) async throws -> Date? {
        var latest: Date?
        for status in [nil, MemberStatus.archived] {
            let seen = try await readPages(status: status, since: since, link) {
                try await self.store($0, sweep: sweep)
            }
            latest = [latest, seen].compactMap { $0 }.max()
        }
        try await lookUpOusted(link)
        return latest
    }

    /// Looks up, by its id, each contact whose address another one was found at and that no page told of.
    ///
    /// Whoever is found may come to an address where yet another was thought to be.
    private func lookUpOusted(_ link: Link) async throws {
        var seen: Set<Int64> = []
        while true {
            let rows = try await pool.query("select koppeling.ousted_members(\(self.id)::bigint) as id")
            let ousted = Set(try rows.map { try $0.decode("id", as: Int64.self) }).subtracting(seen)
            if ousted.isEmpty { return }
            try await lookUp(Array(ousted), link)
            seen.formUnion(ousted)
        }
    }

    private func lookUp(_ members: [Int64], _ link: Link) async throws {
        try await members.visit(atOnce: Self.width) { member in
            if let state = try await MemberState.load(member, from: self.pool) { try await self.read(state, link) }
        }
    }

    /// Reads what changed since the last pull, for the last time before the link ends; also while the instance is off.
    ///
    /// - Throws: `MailchimpError` when a page cannot be read.
    func readBeforeParting(_ link: Link) async throws {
        let latest = try await readChanges(since: link.cursor, sweep: 0, link)
        // From here on the list is looked at once more when the link has ended.
        try await pool.query(
            """
            update koppeling.connector_instance
            set pull_cursor = greatest(pull_cursor, \(latest)::timestamptz - interval '10 minutes')
            where id = \(self.id)::bigint
            """)
    }

    /// Queues the pull that follows: the guarantee behind the hooks, and more often where there are none.
    func requestNextPull(hasWebhook: Bool) async throws {
        let minutes = hasWebhook ? 10 : 2
        try await pool.query(
            """
            select koppeling.request_pull(\(self.id)::bigint, false,
                koppeling.now() + make_interval(mins => \(minutes)::int))
            """)
    }

    /// Stores what a page says; returns the latest change in it.
    private func store(_ page: ReadPage, sweep: Int64) async throws -> Date? {
        try await pool.transaction { connection in
            try await connection.query(
                """
                select latest
                from koppeling.observe_page(\(self.id)::bigint, \(JSONText(utf8: page.raw.bytes))::jsonb,
                    \(page.readAt)::timestamptz, \(sweep)::bigint)
                """
            ).first?.decode("latest", as: Date?.self)
        }
    }

    func now() async throws -> Date {
        try await pool.query("select koppeling.now()").scalar()
    }

    /// Reads the list's merge fields; the pull is complete without them.
    private func readFields(_ link: Link) async throws {
        let list = link.listID
        do {
            let fields = try await call(link) { try await MergeFields.read($0, list) }
            try await MergeFields.store(fields, instance: id, on: pool)
        } catch let error as MailchimpError {
            logger.notice("the merge fields could not be read", metadata: ["code": "\(error.code)"])
        }
    }

    private func beginSweep() async throws -> Int64 {
        let rows = try await pool.query(
            """
            update koppeling.connector_instance set sweep = sweep + 1 where id = \(self.id)::bigint returning sweep
            """)
        return try rows.first?.decode("sweep") ?? 1
    }

    private func finishPull(latest: Date?, began: Date, isSweep: Bool) async throws {
        try await pool.withConnection { connection in
            // The overlap: who changed while the list was read is read again next time. Our clock has no say in it.
            try await connection.execute(
                """
                update koppeling.connector_instance
                set pull_cursor = greatest(
                        coalesce(\(latest)::timestamptz - interval '10 minutes', pull_cursor, 'epoch'), pull_cursor),
                    last_pull_at = \(began)::timestamptz,
                    last_sweep_at = case when \(isSweep)::boolean then \(began)::timestamptz else last_sweep_at end
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
        guard missing <= max(25, known / 10), missing < known || known <= 1 else {
            try await listIsGone("\(missing) of \(known) known contacts are not in the list any more")
            return false
        }
        let gone = try await pool.query(
            """
            select id from koppeling.missing_members(\(self.id)::bigint, \(sweep)::bigint, \(Int(missing))::int)
            """)
        try await lookUp(try gone.map { try $0.decode("id", as: Int64.self) }, link)
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
