import Postgres

/// What order and limits cost.
extension Bench {
    private static var keys: Int { 10_000 }

    func measureKeys() async throws {
        let plain = try await drainRate()
        let jobs = scaled(500_000)
        let rate = try await median {
            try await server.withDatabase { database in
                try await limit(Self.keys, on: database)
                try await database.load(jobs, keys: Self.keys)
                return try await drain(jobs, on: database).rate
            }
        }
        try report.show(
            Figure("drain with order and limits on 10,000 keys", rate, "jobs/s", of: ("the drain", plain), aim: 0.5))
        let hot = try await server.withDatabase { database in
            try await limit(1, on: database)
            try await database.load(scaled(100_000), keys: 1)
            try await database.settle()
            let seconds = scaled(seconds: 15)
            return try await Fleet.with(1, setup, on: database) { fleet in
                while fleet.seconds < seconds, fleet.handled < scaled(100_000) {
                    try await Task.sleep(for: .milliseconds(50))
                }
                return fleet.rate(from: seconds / 5, to: fleet.seconds)
            }.value
        }
        try report.show(Figure("drain with order and limits on one key", hot, "jobs/s"))
    }

    /// Sets a concurrency, and a rate that is never reached, for every key.
    private func limit(_ keys: Int, on database: Database) async throws {
        let exists = try await database.pool.query(
            "select to_regprocedure('koppeling.set_limit(text, int, int, interval)') is not null")
        guard try exists.scalar(as: Bool.self) else {
            report.note("There are no limits yet: the keys only order.")
            return
        }
        try await database.pool.query(
            """
            select koppeling.set_limit('key-' || n, concurrency => 10, rate => 100000, period => interval '1 second')
            from generate_series(0, \(Int32(keys - 1))::int) n
            """)
    }
}
