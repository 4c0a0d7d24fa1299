import EmbeddedPostgres
import Postgres
import TestSupport
import Testing

@Suite("A standby") struct StandbyTests {
    @Test("follows its primary, takes no writes, and has everything when it is promoted") func promoted() async throws {
        try await Replicas.with { replicas in
            let pool = Pool(replicas.settings, maximum: 2)
            try await pool.script("create table item (n int)")
            try await pool.execute("insert into item values (1)")
            let error = await #expect(throws: PostgresError.self) {
                try await Connection.connect(replicas.standby).execute("insert into item values (2)")
            }
            #expect(error?.isRetryable == true)
            await replicas.stopPrimary()
            await #expect(throws: PostgresError.self) { try await pool.execute("insert into item values (3)") }
            try await replicas.promote()
            try await pool.execute("insert into item values (4)")
            #expect(
                try await pool.query("select array_agg(n order by n) from item").scalar(as: [Int32].self) == [1, 4])
            await pool.close()
        }
    }
}
