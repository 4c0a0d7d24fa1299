import FoundationEssentials
import Postgres
import TestSupport
import Testing

@Suite("A value", .emptyDatabase) struct RoundTripTests {
    @Test("comes back as it was sent, whatever it is") func random() async throws {
        var seed = Seed()
        try await TestDatabase.current.pool.withConnection { connection in
            for _ in 0..<200 {
                try await expectEcho(Int64.random(in: .min ... .max, using: &seed), connection)
                try await expectEcho(Int32.random(in: .min ... .max, using: &seed), connection)
                try await expectEcho(Int.random(in: .min ... .max, using: &seed), connection)
                try await expectEcho(Bool.random(using: &seed), connection)
                try await expectEcho(Double.random(in: -1e300...1e300, using: &seed), connection)
                try await expectEcho(randomText(&seed), connection)
                try await expectEcho(randomBytes(&seed), connection)
                try await expectEcho(randomDate(&seed), connection)
                try await expectEcho(UUID.random(using: &seed), connection)
            }
        }
    }

    @Test("comes back as it was sent in an array, and so does null") func arrays() async throws {
        var seed = Seed()
        try await TestDatabase.current.pool.withConnection { connection in
            for _ in 0..<50 {
                let count = Int.random(in: 0...20, using: &seed)
                try await expectEcho((0..<count).map { _ in Int64.random(in: .min ... .max, using: &seed) }, connection)
                try await expectEcho((0..<count).map { _ in Int32.random(in: .min ... .max, using: &seed) }, connection)
                try await expectEcho((0..<count).map { _ in Bool.random(using: &seed) }, connection)
                try await expectEcho((0..<count).map { _ in randomText(&seed) }, connection)
                try await expectEcho((0..<count).map { _ in randomBytes(&seed) }, connection)
                try await expectEcho((0..<count).map { _ in randomDate(&seed) }, connection)
                let some = (0..<count).map { _ in Bool.random(using: &seed) ? randomText(&seed) : nil }
                try await expectEcho(some, connection)
                try await expectEcho(some.first?.flatMap { $0 }, connection)
            }
        }
    }

    @Test("of JSON keeps its meaning", arguments: [#"{"a": [1, 2.50, null], "é": "\u0001"}"#, "3", "null", #""x""#])
    func json(text: String) async throws {
        let pool = TestDatabase.current.pool
        let same: Bool = try await pool.query("select \(JSONText(text))::jsonb = \(text)::text::jsonb").scalar()
        #expect(same)
        let several: [JSONText] = try await pool.query("select \([JSONText(text)])::jsonb[]").scalar()
        #expect(several.count == 1)
    }

    @Test("of JSON is encoded and decoded with its dates") func codable() throws {
        struct Note: Codable, Equatable {
            var name: String
            var at: Date
        }
        let note = Note(name: "Øre/€", at: Date(timeIntervalSince1970: 1_700_000_000))
        let json = try JSONText(encoding: note)
        #expect(json.text == #"{"at":"2023-11-14T22:13:20.000Z","name":"Øre/€"}"#)
        #expect(try json.decode(Note.self) == note)
    }

    @Test("of time may be infinite") func infinity() async throws {
        let rows = try await TestDatabase.current.pool.query(
            """
            select 'infinity'::timestamptz as never, '-infinity'::timestamptz as always,
                \(Date.distantFuture)::timestamptz = 'infinity' as same, '1999-12-31'::date as day
            """)
        #expect(try rows[0].decode("never", as: Date.self) == .distantFuture)
        #expect(try rows[0].decode("always", as: Date.self) == .distantPast)
        #expect(try rows[0].decode("same", as: Bool.self))
        #expect(try rows[0].decode("day", as: Date.self) == Date(timeIntervalSince1970: 946_598_400))
    }

    @Test("of an enumeration is its raw value, and an unknown one is refused") func enumeration() async throws {
        let pool = TestDatabase.current.pool
        let shade: Shade = try await pool.query("select \(Shade.dark)::text").scalar()
        #expect(shade == .dark)
        let rows = try await pool.query("select 'pink' as shade")
        #expect(throws: PostgresError.self) { try rows[0].decode("shade", as: Shade.self) }
    }

    @Test("that no text can hold is refused by the server, and the connection stays") func nulInText() async throws {
        let pool = TestDatabase.current.pool
        let error = await #expect(throws: PostgresError.self) { try await pool.query("select \("a\0b")::text") }
        #expect(error?.sqlState == "22021")
        #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
    }

    @Test("of another type is refused with the name of the column and what to do") func mismatch() async throws {
        let row = try #require(
            try await TestDatabase.current.pool.query("select 1.5::numeric as price, null::int as size").first)
        let numeric = #expect(throws: PostgresError.self) { try row.decode("price", as: Int.self) }
        #expect(numeric?.code == .decoding)
        #expect(numeric?.message.contains("price") == true)
        #expect(throws: PostgresError.self) { try row.decode("price", as: String.self) }
        #expect(throws: PostgresError.self) { try row.decode("size", as: Int.self) }
        #expect(try row.decode("size", as: Int?.self) == nil)
        #expect(throws: PostgresError.self) { try row.decode("weight", as: Int.self) }
        #expect(throws: PostgresError.self) { try row.decode(2, as: Int?.self) }
    }

    @Test("of a row can be read several at a time") func several() async throws {
        let rows = try await TestDatabase.current.pool.query("select 1::bigint, 'two', null::bool")
        let (one, two, three) = try rows[0].decode(Int.self, String.self, Bool?.self)
        #expect(one == 1 && two == "two" && three == nil)
    }
}

private enum Shade: String, PostgresEncodable, PostgresDecodable {
    case light, dark
}

private func expectEcho<Value: PostgresEncodable & PostgresDecodable & Equatable>(
    _ value: Value, _ connection: Connection, at location: SourceLocation = #_sourceLocation
) async throws {
    let echo: Value = try await connection.query("select \(value)").scalar()
    #expect(echo == value, sourceLocation: location)
}

/// Text of all planes, quotes and controls, without the one character that PostgreSQL cannot hold.
private func randomText(_ seed: inout Seed) -> String {
    let ranges: [ClosedRange<UInt32>] = [1...0x7f, 0x80...0x7ff, 0x800...0xd7ff, 0xe000...0xffff, 0x10000...0x10ffff]
    var text = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...30, using: &seed) {
        let range = ranges[Int.random(in: ranges.indices, using: &seed)]
        if let scalar = UnicodeScalar(UInt32.random(in: range, using: &seed)) { text.append(scalar) }
    }
    return String(text)
}

private func randomBytes(_ seed: inout Seed) -> [UInt8] {
    (0..<Int.random(in: 0...40, using: &seed)).map { _ in UInt8.random(in: 0...255, using: &seed) }
}

/// A moment with microseconds, which is what PostgreSQL keeps.
private func randomDate(_ seed: inout Seed) -> Date {
    let microseconds = Int64.random(in: -2_000_000_000_000_000...2_000_000_000_000_000, using: &seed)
    return Date(timeIntervalSinceReferenceDate: Double(microseconds) / 1e6)
}

extension UUID {
    fileprivate static func random(using seed: inout Seed) -> UUID {
        var bytes = (seed.next(), seed.next())
        return withUnsafeBytes(of: &bytes) { UUID(uuid: $0.load(as: uuid_t.self)) }
    }
}
