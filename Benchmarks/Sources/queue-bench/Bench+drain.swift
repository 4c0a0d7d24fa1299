import Postgres

/// How fast workers empty a queue that is full.
extension Bench {
    /// The rate of one worker process, which is measured when it has not been.
    func drainRate() async throws -> Double {
        if let ownDrain { return ownDrain }
        var processor = 0.0
        let rate = try await median {
            try await server.withDatabase { database in
                try await database.load(scaled(500_000))
                let (rate, ending) = try await drain(scaled(500_000), on: database)
                processor = ending.processor / Double(scaled(500_000)) * 1e6
                return rate
            }
        }
        ownDrain = rate
        try report.show(Figure("drain", rate, "jobs/s"))
        try show("drain against the ceiling", rate, of: "ceiling at 500", ceilingDrain, aim: 0.5)
        try show("drain against PgQueuer", rate, of: "PgQueuer's drain", peerDrain, aim: 3)
        try report.show(Figure("drain, the worker's processor time", processor, "µs/job"))
        return rate
    }

    /// The rate at which workers do the first so many jobs of what is ready.
    func drain(
        _ jobs: Int, workers: Int = 1, on database: Database
    ) async throws -> (rate: Double, ending: Fleet.Ending) {
        try await database.settle()
        let (names, ending) = try await Fleet.with(workers, setup, on: database) { fleet in
            try await fleet.wait(for: jobs)
            return fleet.names
        }
        let done = try await database.done(by: names)
        guard done.count >= jobs, done.seconds > 0 else {
            throw Failure("of \(jobs) jobs only \(done.count) are done")
        }
        return (Double(done.count) / done.seconds, ending)
    }

    /// The same drain after a million jobs are finished.
    func measureHistory() async throws {
        let plain = try await drainRate()
        let rate = try await server.withDatabase { database in
            try await database.load(scaled(1_000_000))
            _ = try await drain(scaled(1_000_000), on: database)
            return try await median {
                try await database.load(scaled(500_000))
                return try await drain(scaled(500_000), on: database).rate
            }
        }
        try report.show(
            Figure("drain with 1 million finished", rate, "jobs/s", of: ("the drain", plain), aim: 0.9))
    }

    /// The same drain with a million jobs ready behind it.
    func measureBacklog() async throws {
        let plain = try await drainRate()
        let rate = try await median {
            try await server.withDatabase { database in
                try await database.load(scaled(1_500_000))
                let (rate, ending) = try await drain(scaled(500_000), on: database)
                backlogPeak = max(backlogPeak ?? 0, ending.peak)
                return rate
            }
        }
        try report.show(
            Figure("drain with 1 million ready behind", rate, "jobs/s", of: ("the drain", plain), aim: 0.9))
    }

    /// The most memory that a worker has while a million jobs are ready.
    func measureMemory() async throws {
        if backlogPeak == nil {
            backlogPeak = try await server.withDatabase { database in
                try await database.load(scaled(1_000_000))
                return try await drain(scaled(200_000), on: database).ending.peak
            }
        }
        guard let backlogPeak else { return }
        try report.show(Figure("memory of a worker with 1 million ready", backlogPeak, "MB", aim: 64, .under))
    }

    /// More workers are not slower than one.
    func measureWorkers() async throws {
        let one = try await drainRate()
        for workers in [2, 4] {
            let rate = try await median {
                try await server.withDatabase { database in
                    try await database.load(scaled(500_000))
                    return try await drain(scaled(500_000), workers: workers, on: database).rate
                }
            }
            try report.show(Figure("drain by \(workers) workers", rate, "jobs/s", of: ("one", one), aim: 0.9))
        }
    }
}
