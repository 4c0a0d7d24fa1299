import FoundationEssentials
import IO
import Postgres

/// The time of a run, which database and sandbox share: it goes on as ever, and jumps when it is told to.
final class SyncClock: Sendable {
    private let ahead = Locked(0)

    /// The seconds since 1970.
    var second: Int { Int(Date().timeIntervalSince1970) + ahead.withLock { $0 } }

    /// Puts the database's only clock under this one's.
    func install(_ pool: Pool) async throws {
        try await pool.script(
            """
            create table koppeling.chaos_clock (ahead interval not null);
            insert into koppeling.chaos_clock values ('0');
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return clock_timestamp() + (select c.ahead from koppeling.chaos_clock c);
            """)
    }

    /// Jumps while nothing of the instance runs: a call must not seem hours late because of us.
    ///
    /// It is ready when nothing waits that has to happen within a minute; that is asked once all is still. False: something
    /// ran all the time, or it was not ready.
    func jump(
        _ seconds: Int, _ pool: Pool, queue: String = "instance-1", when ready: () async throws -> Bool
    ) async throws -> Bool {
        try await pool.query("select koppeling.pause(queue => \(queue))")
        let deadline = ContinuousClock.now + .seconds(10)
        var isStill = false
        while !isStill, ContinuousClock.now < deadline {
            isStill =
                try await pool.query(
                    "select count(*) from koppeling.job where state = 'running' and queue = \(queue)"
                ).scalar(as: Int64.self) == 0
            if !isStill { try await Task.sleep(for: .milliseconds(20)) }
        }
        if isStill { isStill = try await ready() }
        if isStill {
            ahead.withLock { $0 += seconds }
            try await pool.transaction { connection in
                // What lives stays alive: its signs of life jump along.
                try await connection.execute(
                    """
                    update koppeling.worker set heartbeat_at = heartbeat_at + make_interval(secs => \(seconds))
                    where ended_at is null
                    """)
                try await connection.execute(
                    "update koppeling.permit set expires_at = expires_at + make_interval(secs => \(seconds))")
                try await connection.execute(
                    "update koppeling.chaos_clock set ahead = ahead + make_interval(secs => \(seconds))")
            }
        }
        try await pool.query("select koppeling.resume(queue => \(queue))")
        return isStill
    }
}
