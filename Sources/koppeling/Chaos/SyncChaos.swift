import FoundationEssentials
import Glibc
import IO
import Logging
import MailchimpSandbox
import Postgres

/// Persons, rules and contacts change at random while calls fail, hooks get lost and workers are killed.
///
/// When the noise stops, everything must come to rest, and the list must hold exactly whom it should.
struct SyncChaos: Sendable {
    static let workers = 2

    let seed: UInt64
    let preset: String
    let time: Duration
    let families: Int
    let logger: Logger

    private let clock = SyncClock()

    init(seed: UInt64, preset: String, time: Duration, families: Int, logger: Logger) {
        self.seed = seed
        self.preset = preset
        self.time = time
        self.families = families
        self.logger = logger
    }

    /// Runs it all.
    func run() async throws -> ChaosReport {
        guard let listen = ListenAddress("127.0.0.1:0") else { return ChaosReport() }
        return try await StandInWorld.with(logger: logger, listen: listen) { configuration in
            configuration.clock = { clock.second }
            configuration.seed = seed
            configuration.historyKept = 200
        } _: { world in
            try await world.program.run("migrate")
            try await clock.install(world.pool)
            try await world.program.run("account", "connect", "--name", "Instituut", input: StandInWorld.apiKey)
            try await world.program.run("instance", "link", "Instituut", "--list", "Nieuwsbrief")
            // The brake has tests of its own; here everything flows.
            try await world.pool.query(
                """
                update koppeling.connector_instance
                set activated = true, enabled = true, joins_cap = 1000000, joins_count = 1000000, removals_cap = 1000000,
                    removals_count = 1000000
                """)
            let list = await world.sandbox.lists()[0].id
            let door = SandboxDoor(root: world.sandboxRoot, list: list, http: world.http)
            try await door.send("PATCH", "switches", #"{"preset": "\#(preset)"}"#)
            try await door.send("PUT", "audit", #"{"grace_milliseconds": 2000}"#)
            return try await run(world, door)
        }
    }

    private func run(_ world: StandInWorld, _ door: SandboxDoor) async throws -> ChaosReport {
        let crew = try Crew(
            size: Self.workers, command: "chaos-sync-worker", program: world.program, folder: world.folder)
        defer { crew.end() }
        var random = SplitMix(seed: seed)
        var scene = SyncScene(families: families, &random)
        let group = try await world.number("select target_group_id from koppeling.connector_instance")
        let acts = SyncActs(world: world, door: door, clock: clock, group: group)
        try await acts.begin(scene)
        let rest = SyncRest(world: world, door: door, clock: clock)
        try await rest.wait()
        try await breakCalls(door)
        let tally = Locked<[String: Int]>([:])
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await kill(crew, tally) }
            group.addTask { try await jump(rest, tally) }
            let deadline = ContinuousClock.now + time
            while ContinuousClock.now < deadline {
                try await acts.act(&scene, &random)
                try await Task.sleep(for: .milliseconds(Int.random(in: 0...30, using: &random)))
            }
            group.cancelAll()
            while (try? await group.next()) != nil {}
        }
        tally.withLock { $0["call broken"] = 0 }
        let hits = try await rest.stopNoise()
        tally.withLock { $0["call broken"] = hits }
        var report = ChaosReport(chaos: "sync")
        crew.replaceDead()
        let findings = try await rest.converge(crew) { [scene] in
            try await SyncOracle(world: world, door: door).findings(scene)
        }
        report.broken = (scene.acts.merging(tally.withLock { $0 }) { $1 }).sorted { $0.key < $1.key }
            .map { (name: $0.key, count: $0.value) }
        report.complaints = findings
        report.findings = try await rest.consent()
        if !report.isGood {
            let named = (findings + report.findings.map(\.name)).flatMap { $0.split(separator: " ").map(String.init) }
            let addresses = Set(named.filter { $0.contains("@") }.map { $0.lowercased() })
            report.complaints += try await SyncOracle(world: world, door: door).stories(addresses) + crew.lastLines()
        }
        return report
    }

    /// A tenth of the calls goes wrong, in every way; hooks are lost, doubled and shuffled.
    private func breakCalls(_ door: SandboxDoor) async throws {
        let effects = [
            ("429", ""), ("429_empty", ""), ("403_html", ""), ("500", ""), ("502_html", ""), ("503", ""),
            ("503_akamai", ""), ("reset", #", "when": "before""#), ("reset", #", "when": "after""#),
            ("500", #", "when": "after""#), ("truncated", ""), ("malformed", ""), ("hang", #", "milliseconds": 1200"#),
            ("slow", #", "milliseconds": 300"#),
        ]
        for (number, (effect, more)) in effects.enumerated() {
            let share = 0.1 / Double(effects.count)
            try await door.send(
                "POST", "faults", #"{"effect": "\#(effect)", "share": \#(share), "seed": \#(number + 1)\#(more)}"#)
        }
        try await door.send(
            "PUT", "webhooks", #"{"drop_share": 0.2, "double_share": 0.2, "shuffle_milliseconds": 1500}"#)
    }

    private func kill(_ crew: Crew, _ tally: Locked<[String: Int]>) async throws {
        while !Task.isCancelled {
            try await Task.sleep(for: .milliseconds(Int.random(in: 500...3000)))
            crew.replaceDead()
            if crew.signal(SIGKILL) != nil { tally.withLock { $0["worker killed", default: 0] += 1 } }
        }
    }

    /// Minutes, hours and days go by.
    private func jump(_ rest: SyncRest, _ tally: Locked<[String: Int]>) async throws {
        while !Task.isCancelled {
            try await Task.sleep(for: .milliseconds(Int.random(in: 1500...4000)))
            let seconds =
                switch Int.random(in: 0..<20) {
                case 0..<9: Int.random(in: 60...600)
                case 9..<16: Int.random(in: 900...7200)
                case 16..<19: Int.random(in: 80_000...180_000)
                default: 700_000
                }
            if try await rest.jump(seconds, within: .seconds(20)) {
                tally.withLock { $0["clock jumped", default: 0] += 1 }
            }
        }
    }
}
