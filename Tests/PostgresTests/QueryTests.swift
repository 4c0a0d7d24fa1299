import Postgres
import TestSupport
import Testing

@Suite("A query", .emptyDatabase) struct QueryTests {
    @Test("binds what is interpolated and never splices it") func binding() async throws {
        let text = "'; drop table person; --"
        let rows = try await TestDatabase.current.pool.query("select \(text)::text as echo, \(42)::bigint as answer")
        #expect(rows.count == 1)
        #expect(try rows[0].decode("echo", as: String.self) == text)
        #expect(try rows[0].decode("answer", as: Int.self) == 42)
    }

    @Test("says how many rows it changed") func affected() async throws {
        let pool = TestDatabase.current.pool
        try await pool.execute("create table thing (id bigint primary key)")
        let inserted = try await pool.execute("insert into thing select generate_series(1, \(7)::bigint)")
        #expect(inserted == 7)
        #expect(try await pool.execute("delete from thing where id > \(4)") == 3)
    }
}
