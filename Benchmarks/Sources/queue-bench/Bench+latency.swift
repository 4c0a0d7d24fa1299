import JobQueue
import Postgres

/// A system that has next to nothing to do.
extension Bench {
    /// From the call that enqueues a job to the start of its handler, in another process.
    func measureLatency() async throws {
        let ending = try await server.withDatabase { database in
            try await database.settle()
            return try await Fleet.with(1, setup, on: database) { fleet in
                let queue = database.queue
                var chance = Chance(7)
                // The first prepares statements.
                try await queue.enqueue(NewJob(kind: Work.kind))
                try await fleet.wait(for: 1)
                let samples = scaled(300)
                for number in 1...samples {
                    // Longer than a job takes, and not in step with anything; now and then so long that all is at rest.
                    let pause = number.isMultiple(of: 25) ? 3_000 : 20 + chance.next(below: 230)
                    try await Task.sleep(for: .milliseconds(pause))
                    try await queue.enqueue(NewJob(kind: Work.kind, args: Tally.args(sent: Tally.nanoseconds())))
                }
                try await fleet.wait(for: samples + 1)
            }.ending
        }
        let latencies = ending.latencies.sorted()
        guard let slowest = latencies.last else { throw Failure("no job says how long it waited") }
        func percentile(_ share: Double) -> Double { latencies[Int(Double(latencies.count - 1) * share)] }
        try report.show(Figure("from enqueue to start, p50", percentile(0.5), "ms", aim: 5, .under))
        try report.show(Figure("from enqueue to start, p99", percentile(0.99), "ms", aim: 25, .under))
        try report.show(Figure("from enqueue to start, slowest of \(latencies.count)", slowest, "ms"))
    }

    /// What a worker asks of the database while there is nothing to do.
    func measureIdle() async throws {
        let seconds = scaled(seconds: 40)
        let rate = try await server.withDatabase { database in
            try await database.settle()
            return try await Fleet.with(1, setup, on: database) { fleet in
                try await database.queue.enqueue(NewJob(kind: Work.kind))
                try await fleet.wait(for: 1)
                // It looks again a few times after it became idle. And connections that idle report what they did, the
                // vacuum's too, after up to 10 s.
                try await Task.sleep(for: .seconds(12))
                let before = try await server.transactions()
                let clock = Stopwatch()
                try await Task.sleep(for: .seconds(seconds))
                return Double(try await server.transactions() - before) / clock.seconds
            }.value
        }
        try report.show(Figure("transactions of an idle worker", rate, "per s", aim: 2, .under))
    }
}
