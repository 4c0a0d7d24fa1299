import IO
import JobQueue
import Postgres

/// How fast jobs go through while others come in.
extension Bench {
    /// The rate in and out with one worker process, which is measured when it has not been.
    func steadyRate() async throws -> Double {
        if let ownSteady { return ownSteady }
        let rate = try await server.withDatabase { database in
            try await steady(on: database, for: scaled(seconds: 25)) { fleet in
                fleet.rate(from: scaled(seconds: 5), to: scaled(seconds: 25))
            }
        }
        ownSteady = rate
        try report.show(Figure("in and out", rate, "jobs/s"))
        try show("in and out against the ceiling", rate, of: "ceiling at 500, in and out", ceilingSteady, aim: 0.5)
        try show("in and out against PgQueuer", rate, of: "PgQueuer's in and out", peerSteady, aim: 1.75)
        return rate
    }

    /// In and out while a session of somebody else holds a snapshot open, as a long report or a dump does.
    func measureSnapshot() async throws {
        let undisturbed = try await steadyRate()
        let (early, late) = try await server.withDatabase { database in
            let other = try await Connection.connect(database.settings)
            return try await other.transaction(.repeatableRead) { connection in
                // It stands idle on purpose, for longer than a session may.
                try await connection.script("set local idle_in_transaction_session_timeout = 0")
                // The snapshot is taken by the first query.
                try await connection.query("select count(*) from pg_class")
                return try await steady(on: database, for: scaled(seconds: 60)) { fleet in
                    (
                        fleet.rate(from: scaled(seconds: 10), to: scaled(seconds: 30)),
                        fleet.rate(from: scaled(seconds: 40), to: scaled(seconds: 60))
                    )
                }
            }
        }
        try report.show(
            Figure(
                "in and out under a held snapshot, seconds 40 to 60", late, "jobs/s", of: ("seconds 10 to 30", early),
                aim: 0.9))
        try report.show(
            Figure("in and out under a held snapshot", late, "jobs/s", of: ("undisturbed", undisturbed), aim: 0.4))
    }

    /// Keeps jobs coming in, 500 at a time over two connections, as fast as one worker takes them out.
    private func steady<Value: Sendable>(
        on database: Database, for seconds: Double, _ read: (Fleet) throws -> Value
    ) async throws -> Value {
        let queue = database.queue
        try await database.load(Self.ahead)
        return try await Fleet.with(1, setup, on: database) { fleet in
            try await withThrowingTaskGroup(of: Void.self) { group in
                let enqueued = Locked(Self.ahead)
                for _ in 0..<2 {
                    group.addTask {
                        while fleet.seconds < seconds {
                            guard enqueued.withLock({ $0 }) - fleet.handled < Self.ahead else {
                                try await Task.sleep(for: .milliseconds(2))
                                continue
                            }
                            try await queue.enqueue(many: Self.batch)
                            enqueued.withLock { $0 += Self.batch.count }
                        }
                    }
                }
                try await group.waitForAll()
            }
            guard fleet.handled > 0 else { throw Failure("the worker has handled nothing") }
            return try read(fleet)
        }.value
    }

    private static let batch = (0..<500).map { NewJob(kind: Work.kind, args: JSONText("{\"n\": \($0)}")) }

    /// How many jobs wait at the most: enough that the worker never stands still between two looks at what it has done.
    private static let ahead = 10_000
}
