import JobQueue
import Postgres
import TestSupport
import Testing

@Suite(.database) struct ZMeasure {
    let bench = Bench()
    @Test func `measure`() async throws {
        try await bench.pool.script("do $$ begin execute format('alter database %I set log_statement = ''all''', current_database()); end $$")
        let b = Bench()
        let pool = Pool(bench.settings, maximum: 4)
        let worker = Worker(pool: pool, options: Worker.Options(name: "w"), logger: Bench.silent)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try? await worker.run() }
            for n in 0..<20 { group.addTask { try? await worker.consume(queue: "q\(n)", handlers: [Does.always(.done())], concurrentBatches: 2) } }
            try await Task.sleep(for: .seconds(45))
            group.cancelAll()
        }
        _ = b
    }
}
