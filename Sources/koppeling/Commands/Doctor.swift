import ArgumentParser
import Connector
import FoundationEssentials
import Postgres

/// `koppeling doctor`: looks at what the program needs, and says what to do about what is wrong.
struct Doctor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check the settings, the database and the schema.",
        discussion: "Every check is a line. Ends with 1 when one of them failed.")

    func run() async throws {
        var findings = Findings()
        let settings = try Settings.read()
        findings.check(settings)
        do {
            try await Runtime.with(connections: 2, migrated: false) { runtime in
                try await findings.check(runtime)
            }
        } catch {
            findings.bad("database", "\(Failure(error).message)")
        }
        guard findings.isGood else { throw Failure("") }
    }
}

/// What the checks found, told as they find it.
private struct Findings {
    private(set) var isGood = true

    func good(_ what: String, _ detail: String) {
        Console.line("ok    \(what): \(detail)")
    }

    /// Something to know that keeps nothing from working.
    func note(_ what: String, _ detail: String) {
        Console.line("note  \(what): \(detail)")
    }

    mutating func bad(_ what: String, _ detail: String) {
        isGood = false
        Console.line("FAIL  \(what): \(detail)")
    }

    mutating func check(_ settings: Settings) {
        good("environment", settings.environment.rawValue)
        switch settings.secretKey.map({ Data(base64Encoded: $0)?.count }) {
        case 32: good("KOPPELING_SECRET_KEY", "32 bytes")
        case nil where settings.databaseURL == nil:
            note("KOPPELING_SECRET_KEY", "not set; the private database has a key of its own")
        case nil:
            bad("KOPPELING_SECRET_KEY", "not set: make one with `openssl rand -base64 32` and keep it safe")
        default: bad("KOPPELING_SECRET_KEY", "not 32 bytes in base64: make one with `openssl rand -base64 32`")
        }
        if settings.pooler == .transaction, settings.directDatabaseURL == nil {
            note(
                "KOPPELING_POOLER",
                "without KOPPELING_DIRECT_DATABASE_URL workers look for work every second and are not told of it")
        }
        if let url = settings.publicURL {
            good("KOPPELING_PUBLIC_URL", url)
        } else {
            note("KOPPELING_PUBLIC_URL", "not set, so Mailchimp sends no webhooks; pulls find changes later")
        }
        if let previous = settings.previousSecretKeys, let key = settings.secretKey {
            do throws(ConnectorError) {
                _ = try Vault(base64: key, previous: previous)
                note("KOPPELING_SECRET_KEY_PREVIOUS", "set; take it away once koppeling account rekey is done")
            } catch {
                bad("KOPPELING_SECRET_KEY_PREVIOUS", error.message)
            }
        }
        switch (settings.clientID, settings.clientSecret, settings.publicURL) {
        case (nil, nil, _): note("MAILCHIMP_CLIENT_ID", "not set, so accounts are connected by key, not by OAuth")
        case (nil, _, _), (_, nil, _):
            bad("MAILCHIMP_CLIENT_ID", "set both it and MAILCHIMP_CLIENT_SECRET, as Mailchimp shows them for the app")
        case (_, _, nil):
            bad("MAILCHIMP_CLIENT_ID", "OAuth needs KOPPELING_PUBLIC_URL, where Mailchimp sends browsers back to")
        default: good("MAILCHIMP_CLIENT_ID", "set, with its secret")
        }
        if let url = settings.mailchimpURL { note("KOPPELING_MAILCHIMP_URL", "every account is at \(url)") }
    }

    mutating func check(_ runtime: Runtime) async throws {
        let pool = runtime.pool
        let version = try await pool.query("select current_setting('server_version')").scalar(as: String.self)
        let number = try await pool.query("select current_setting('server_version_num')::int").scalar(as: Int32.self)
        if number >= 150_000 {
            good("database", "PostgreSQL \(version), \(runtime.database)")
        } else {
            bad("database", "PostgreSQL \(version) is too old: it takes 15 or later")
        }
        try await checkHearing(runtime)
        do {
            let migrator = try Migrator.locate()
            try await pool.withConnection { try await migrator.check($0) }
            good("schema", "up to date with \(migrator.directory)")
        } catch let error as PostgresError {
            bad("schema", error.message)
            return
        }
        try await checkDeployment(runtime)
        try await checkSealed(runtime)
        try await checkWork(pool)
        try await checkQueue(pool)
    }

    /// Whether this is the deployment that was confirmed; if not, no instance works.
    private mutating func checkDeployment(_ runtime: Runtime) async throws {
        guard let services = try? LinkServices(runtime) else { return }
        defer { services.shutdown() }
        if let difference = try await services.accounts.deployment.difference() {
            bad(
                "deployment",
                "not the one that was confirmed (\(difference)), so every instance is off: look whether this database may "
                    + "send to these lists, then run koppeling environment confirm and turn them on one by one")
        } else {
            good("deployment", "the one that was confirmed")
        }
    }

    /// Whether the keys of this process open what is stored.
    private mutating func checkSealed(_ runtime: Runtime) async throws {
        guard let key = try? runtime.secretKey(),
            let vault = try? Vault(base64: key, previous: runtime.settings.previousSecretKeys)
        else { return }
        let census = try await SealedValues(pool: runtime.pool, vault: vault).census()
        if let first = census.closed.first {
            bad(
                "sealed",
                "\(census.closed.count) stored secrets cannot be opened, among them \(first): add the key that sealed "
                    + "them to KOPPELING_SECRET_KEY_PREVIOUS, or renew the credential")
        }
        if census.previous > 0 {
            note("sealed", "\(census.previous) stored secrets are sealed with an old key: run koppeling account rekey")
        }
        if census.closed.isEmpty, census.previous == 0 {
            good("sealed", "\(census.current) stored secrets, all with the present key")
        }
    }

    private mutating func checkQueue(_ pool: Pool) async throws {
        let violations = try await QueueViolation.lasting(pool)
        for violation in violations { bad("queue", violation.description) }
        if violations.isEmpty { good("queue", "everything is in its place") }
    }

    private mutating func checkHearing(_ runtime: Runtime) async throws {
        guard runtime.direct.pooler == .none else { return }
        if try await runtime.hearsNotifications() {
            good("listening", "workers are told of new jobs at \(runtime.direct)")
        } else if runtime.settings.directDatabaseURL != nil {
            bad(
                "listening",
                "nothing is heard at \(runtime.direct): let KOPPELING_DIRECT_DATABASE_URL lead to the server and the "
                    + "database that DATABASE_URL leads to, past any pooler")
        } else {
            bad(
                "listening",
                "nothing is heard at \(runtime.direct): if that is a pooler, set KOPPELING_POOLER to transaction")
        }
    }

    private mutating func checkWork(_ pool: Pool) async throws {
        let workers = try await pool.query("select count(*) from koppeling.workers where state = 'alive'").scalar(
            as: Int64.self)
        if workers > 0 {
            good("workers", "\(workers)")
        } else {
            note("workers", "none is running: start koppeling work")
        }
        let rows = try await pool.query(
            """
            select coalesce(extract(epoch from max(koppeling.now() - oldest_ready_at)), 0)::bigint as age,
                (select count(*) from koppeling.jobs
                 where state = 'rejected' and finished_at > koppeling.now() - interval '1 day') as rejected
            from koppeling.queue_status
            """)
        guard let row = rows.first else { return }
        let age = try row.decode("age", as: Int64.self)
        if age > 600 {
            note("queue", "a job has been waiting for \(age) s: see koppeling queue")
        } else {
            good("queue", "the oldest job waits \(age) s")
        }
        let rejected = try row.decode("rejected", as: Int64.self)
        if rejected > 0 {
            note("queue", "\(rejected) jobs were rejected in the last day: koppeling jobs list --state rejected")
        }
    }
}
