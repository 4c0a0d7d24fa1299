import Postgres
import TestSupport
import Testing

@Suite("COPY", .emptyDatabase) struct CopyTests {
    struct Refused: Error {}

    @Test("brings many rows in and counts them") func many() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            try await connection.script("create table item (id bigint, name text)")
            let count = try await connection.copyIn("copy item from stdin") { writer in
                for id in 0..<100_000 { try await writer.write(row: ["\(id)", id % 3 == 0 ? nil : "name \(id)"]) }
            }
            #expect(count == 100_000)
            let rows = try await connection.query("select count(*), count(name), sum(id)::bigint from item")
            let (all, named, sum) = try rows[0].decode(Int.self, Int.self, Int.self)
            #expect(all == 100_000 && named == 66_666 && sum == 4_999_950_000)
        }
    }

    @Test("escapes what would end a field or a row") func escapes() async throws {
        let texts = ["a\tb", "a\nb", "a\r\nb", "\\N", "\\", "", "é€😀", "\\."]
        try await TestDatabase.current.pool.withConnection { connection in
            try await connection.script("create table item (number bigint, text text)")
            try await connection.copyIn("copy item from stdin") { writer in
                for (number, text) in texts.enumerated() { try await writer.write(row: ["\(number)", text]) }
            }
            let rows = try await connection.query("select text from item order by number")
            #expect(try rows.map { try $0.decode("text", as: String.self) } == texts)
        }
    }

    @Test("with a bad row names the line, keeps nothing, and leaves the connection usable") func badRow() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            try await connection.script("create table item (id bigint)")
            let error = await #expect(throws: PostgresError.self) {
                try await connection.copyIn("copy item from stdin with (format csv)") { writer in
                    try await writer.write("1\n2\nthree\n".utf8)
                }
            }
            #expect(error?.sqlState == "22P02")
            #expect(error?.context?.contains("line 3") == true)
            #expect(try await connection.query("select count(*) from item").scalar(as: Int.self) == 0)
        }
    }

    @Test("keeps nothing when the writer throws, and the error is the writer's") func writerThrows() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            try await connection.script("create table item (id bigint)")
            await #expect(throws: Refused.self) {
                try await connection.copyIn("copy item from stdin") { writer in
                    for id in 0..<50_000 { try await writer.write(row: ["\(id)"]) }
                    throw Refused()
                }
            }
            #expect(try await connection.query("select count(*) from item").scalar(as: Int.self) == 0)
        }
    }

    @Test("refuses another statement while it runs, and goes on") func busy() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            try await connection.script("create table item (id bigint)")
            let count = try await connection.copyIn("copy item from stdin") { writer in
                try await writer.write(row: ["1"])
                let error = await #expect(throws: PostgresError.self) { try await connection.query("select 1") }
                #expect(error?.code == .usage)
            }
            #expect(count == 1)
        }
    }

    @Test("hands rows out in pieces of whole rows") func out() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            var lines = 0
            var areWhole = true
            try await connection.copyOut("copy (select repeat('x', 50) from generate_series(1, 100000)) to stdout") {
                piece in
                areWhole = areWhole && piece.last == UInt8(ascii: "\n")
                lines += piece.count { $0 == UInt8(ascii: "\n") }
            }
            #expect(lines == 100_000)
            #expect(areWhole)
            #expect(try await connection.query("select 1").scalar(as: Int.self) == 1)
        }
    }

    @Test("stops when the reader throws, and the connection stays usable") func readerThrows() async throws {
        try await TestDatabase.current.pool.withConnection { connection in
            await #expect(throws: Refused.self) {
                try await connection.copyOut("copy (select generate_series(1, 100000000)) to stdout") { _ in
                    throw Refused()
                }
            }
            let one: Int = try await connection.query("select 1").scalar()
            #expect(one == 1)
        }
    }

    @Test(
        "that is none, or goes the other way, is refused",
        arguments: ["select 1", "copy (select 1) to stdout", "copy nothing from stdin"])
    func wrong(statement: String) async throws {
        let pool = TestDatabase.current.pool
        await #expect(throws: PostgresError.self) {
            try await pool.withConnection { connection in
                try await connection.copyIn(statement) { writer in try await writer.write(row: ["1"]) }
            }
        }
        #expect(try await pool.query("select 1").scalar(as: Int.self) == 1)
    }
}

@Suite("Forty megabytes", .emptyDatabase) struct LargeValueTests {
    @Test("go in as one value and come out as one") func both() async throws {
        // Doubled rather than counted up, which would take an unoptimised test seconds.
        var bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        while bytes.count < 40_000_000 { bytes += bytes }
        let echo: [UInt8] = try await TestDatabase.current.pool.query("select \(bytes)::bytea").scalar()
        #expect(echo == bytes)
    }
}
