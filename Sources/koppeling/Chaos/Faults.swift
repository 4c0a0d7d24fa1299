import EmbeddedPostgres
import Foundation
import IO
import Postgres

/// Breaks things, each at its own pace, and counts how often.
final class Faults: Sendable {
    private let crew: Crew
    private let proxy: FaultyProxy
    private let embedded: EmbeddedPostgres
    private let pool: Pool
    private let time: Duration
    private let tally = Locked<[String: Int]>([:])

    private static let names = [
        "worker killed", "worker told to stop", "worker frozen for 8 s", "server connection ended",
        "server stopped at once and started again", "line stalled", "line reset", "line left half-open",
    ]

    init(
        crew: Crew, proxy: FaultyProxy, embedded: EmbeddedPostgres, pool: Pool, time: Duration
    ) {
        self.crew = crew
        self.proxy = proxy
        self.embedded = embedded
        self.pool = pool
        self.time = time
    }

    /// What was broken how often.
    var counts: [(name: String, count: Int)] {
        let tally = tally.withLock { $0 }
        return Self.names.map { ($0, tally[$0] ?? 0) }
    }

    /// Breaks things until the time is over.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.again(every: .seconds(1)) { self.kill() } }
            group.addTask { try await self.again(every: .seconds(7)) { self.dismiss() } }
            group.addTask { try await self.again(every: .seconds(9)) { try await self.freeze() } }
            group.addTask { try await self.again(every: .milliseconds(700)) { try await self.endConnection() } }
            group.addTask { try await self.again(every: .seconds(1)) { try await self.harmLines() } }
            let pause = Duration.seconds(min(40, self.seconds / 3))
            group.addTask { try await self.again(every: pause) { try await self.restart() } }
            try await group.waitForAll()
        }
    }

    /// Leaves every line half-open at once, after the last worker was killed: who is left has to find out by himself.
    func desert() async throws {
        crew.replaceDead()
        try await Task.sleep(for: .seconds(3))
        count("line left half-open", try await proxy.harm(.halfOpen, most: .max))
    }

    private var seconds: Double { Double(time.components.seconds) }

    private func again(every pause: Duration, _ body: @Sendable () async throws -> Void) async throws {
        let end = ContinuousClock.now + time
        while ContinuousClock.now + pause < end {
            try await Task.sleep(for: pause)
            try await body()
        }
    }

    private func count(_ name: String, _ count: Int = 1) {
        tally.withLock { $0[name, default: 0] += count }
    }

    private func kill() {
        crew.replaceDead()
        if crew.signal(SIGKILL) != nil { count("worker killed") }
    }

    private func dismiss() {
        if crew.signal(SIGTERM) != nil { count("worker told to stop") }
    }

    /// It goes on as if nothing had happened, when others have its jobs.
    private func freeze() async throws {
        guard let victim = crew.signal(SIGSTOP) else { return }
        count("worker frozen for 8 s")
        try await Task.sleep(for: .seconds(8))
        if victim.process.isRunning { Glibc.kill(victim.process.processIdentifier, SIGCONT) }
    }

    private func endConnection() async throws {
        let ended = try? await pool.query(
            """
            select pg_terminate_backend(pid) from (
                select pid from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
                order by random() limit 1) a
            """)
        count("server connection ended", ended?.count ?? 0)
    }

    private func harmLines() async throws {
        let most = Int.random(in: 1...3)
        switch Int.random(in: 0..<3) {
        case 0: count("line stalled", try await proxy.harm(.stall(.seconds(Int.random(in: 1...8))), most: most))
        case 1: count("line reset", try await proxy.harm(.reset, most: most))
        default: count("line left half-open", try await proxy.harm(.halfOpen, most: 1))
        }
    }

    /// As `pg_ctl stop -m immediate` does it: nothing more is written, and the next start recovers.
    private func restart() async throws {
        await embedded.stop(immediately: true)
        _ = try await embedded.start()
        count("server stopped at once and started again")
    }
}
