import FoundationEssentials
import Postgres

/// How a run comes to rest after its noise, and what the sandbox counted meanwhile.
struct SyncRest: Sendable {
    let world: StandInWorld
    let door: SandboxDoor
    let clock: SyncClock

    private struct Audit: Decodable {
        struct Between: Decodable {
            var count: Int
            var restored: Int
            var restored_late: Int
            var not_restored: Int
            var open: Int
        }

        struct Case: Decodable {
            var verdict: String
            var email_address: String
            var at: String
            var no_at: String
            var no: String?
            var request: String
            var restored_at: String?

            /// Whether the contact stayed subscribed against the no for longer than a minute.
            var isLate: Bool {
                guard verdict == "no_in_between" else { return false }
                guard let restored = restored_at.flatMap({ try? Date($0, strategy: .iso8601) }),
                    let at = try? Date(at, strategy: .iso8601)
                else { return true }
                return restored > at.addingTimeInterval(60)
            }
        }

        struct Consent: Decodable {
            var subscribed_against_known_no: Int
            var subscribed_without_read: Int
            var no_in_between: Between
            var refused_attempts: Int
            var cases: [Case]
        }

        var consent: Consent
    }

    private func audit() async throws -> Audit.Consent {
        try await door.send("GET", "audit").decode(Audit.self).consent
    }

    /// Whether every no that fell in between is restored, or becomes so within the time.
    func isConsentSettled(within limit: Duration) async throws -> Bool {
        let deadline = ContinuousClock.now + limit
        while ContinuousClock.now < deadline {
            if try await audit().no_in_between.open == 0 { return true }
            try await Task.sleep(for: .milliseconds(100))
        }
        return false
    }

    /// Lets time go by as soon as no no that fell in between waits to be restored.
    ///
    /// - Returns: false when that took too long.
    @discardableResult
    func jump(_ seconds: Int, within limit: Duration) async throws -> Bool {
        guard try await isConsentSettled(within: limit) else { return false }
        return try await clock.jump(seconds, world.pool) { try await audit().no_in_between.open == 0 }
    }

    /// Takes the faults away and lets the hooks arrive; returns how many calls were broken.
    func stopNoise() async throws -> Int {
        struct Faults: Decodable {
            struct Fault: Decodable { var hits: Int }
            var faults: [Fault]
        }
        struct Hooks: Decodable { var pending: Int }
        let faults: Faults = try await door.send("GET", "faults").decode()
        try await door.send("DELETE", "faults")
        try await door.send("PUT", "webhooks", "{}")
        // Those that failed are sent again by the sandbox's clock.
        let deadline = ContinuousClock.now + .seconds(60)
        while try await door.send("GET", "webhooks").decode(Hooks.self).pending > 0, ContinuousClock.now < deadline {
            try await Task.sleep(for: .seconds(1))
            try await jump(1200, within: .seconds(20))
        }
        return faults.faults.reduce(0) { $0 + $1.hits }
    }

    /// Waits until nothing is due any more; what was put off comes up as the clock jumps.
    func wait() async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        var lastJump = ContinuousClock.now
        while ContinuousClock.now < deadline {
            let rows = try await world.pool.query(
                """
                select count(*) filter (where run_at <= koppeling.now() or state = 'running') as due, count(*) as open
                from koppeling.job
                where kind in ('action', 'group.evaluate', 'instance.webhooks', 'persons.put') and run_at < 'infinity'
                   or kind = 'instance.pull' and (run_at <= koppeling.now() or state = 'running')
                """)
            let due: Int64 = try rows[0].decode("due")
            if try rows[0].decode("open", as: Int64.self) == 0 { return }
            if due == 0, ContinuousClock.now - lastJump > .milliseconds(300) {
                try await jump(120, within: .seconds(20))
                lastJump = .now
            }
            try await Task.sleep(for: .milliseconds(30))
        }
    }

    /// Lets time go by and reads the list in full, until nothing is wrong any more; returns what stays wrong.
    func converge(_ crew: Crew, _ findings: @Sendable () async throws -> [String]) async throws -> [String] {
        var found: [String] = []
        for round in 0..<5 {
            crew.replaceDead()
            try await jump(round == 0 ? 1200 : 7200, within: .seconds(60))
            try await world.pool.query("select koppeling.request_pull(1, true, koppeling.now())")
            // Addresses that came and went too often wait for a person, who has looked.
            try await world.pool.query("select koppeling.run_waiting_actions('Nieuwsbrief')")
            try await wait()
            found = try await findings()
            if found.isEmpty { return [] }
        }
        return found
    }

    /// What the sandbox counted.
    func consent() async throws -> [Ledger.Finding] {
        let audit = try await audit()
        var findings = [
            Ledger.Finding(
                name: "subscribed against a known no", isFault: true, count: Int64(audit.subscribed_against_known_no)),
            Ledger.Finding(
                name: "subscribed without a reading", isFault: true, count: Int64(audit.subscribed_without_read)),
            Ledger.Finding(
                name: "no in between, not restored within a minute", isFault: true,
                count: Int64(
                    audit.no_in_between.restored_late + audit.no_in_between.not_restored
                        + audit.no_in_between.open)),
            Ledger.Finding(name: "no in between", isFault: false, count: Int64(audit.no_in_between.count)),
            Ledger.Finding(name: "no in between, restored", isFault: false, count: Int64(audit.no_in_between.restored)),
            Ledger.Finding(name: "refused attempts", isFault: false, count: Int64(audit.refused_attempts)),
        ]
        for found in audit.cases where found.verdict != "no_in_between" || found.isLate {
            let name =
                "\(found.verdict) \(found.email_address) at \(found.at) by \(found.request), \(found.no ?? "no") at "
                + "\(found.no_at), restored at \(found.restored_at ?? "-")"
            findings.append(Ledger.Finding(name: name, isFault: false, count: 1))
        }
        return findings
    }
}
