import FoundationEssentials
import Postgres
import TestSupport
import Testing

@Suite("Moments in RFC 3339", .database)
struct RFC3339Tests {
    @Test(arguments: [
        "2026-05-31T08:00:00Z", "2026-05-31T08:00:00.000Z", "2026-05-31T08:00:00.000999Z",
        "2026-05-31T10:00:00+02:00", "2026-05-30T23:30:00.0-08:30",
    ])
    func `a moment is read at any offset and told in UTC`(text: String) throws {
        #expect(try #require(Date(rfc3339: text)).rfc3339 == "2026-05-31T08:00:00.000Z")
    }

    @Test(arguments: [
        "", "soon", "2026-05-31", "2026-05-31T08:00:00", "2026-05-31 08:00:00Z", "2026-05-31T08:00Z",
        "2026-02-29T08:00:00Z", "2026-02-31T08:00:00+02:00", "2026-05-31T24:00:00Z", "2026-05-31T08:00:00Z.",
        "2026-05-31T08:00:00+0200",
    ])
    func `anything else is refused, also a day that the month does not have`(text: String) {
        #expect(Date(rfc3339: text) == nil)
    }

    @Test func `the database tells the moments of a row like the program, in whatever time zone`() async throws {
        let moment = try #require(Date(rfc3339: "2026-05-31T08:00:00.125Z"))
        let row: String = try await TestDatabase.current.pool.transaction { connection in
            try await connection.query("set local time zone 'Asia/Kathmandu'")
            return try await connection.query(
                """
                select koppeling.in_utc(row_to_json(t))::text
                from (select \(moment)::timestamptz as run_at, 'infinity'::timestamptz as next_at,
                    null::timestamptz as ended_at, '{"run_at": "2026-05-31T08:00:00+00:00"}'::jsonb as args) t
                """
            ).scalar()
        }
        #expect(
            row == #"{"run_at":"\#(moment.rfc3339)","next_at":"infinity","ended_at":null,"#
                + #""args":{"run_at": "2026-05-31T08:00:00+00:00"}}"#)
    }
}
