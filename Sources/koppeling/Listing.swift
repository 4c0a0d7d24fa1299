import ArgumentParser
import Postgres

/// What every listing takes.
struct ListingOptions: ParsableArguments {
    @Flag(help: "One JSON object a line, instead of a table.")
    var json = false

    @Option(help: "At most this many lines.")
    var limit = 100

    func validate() throws {
        guard (1...100_000).contains(limit) else { throw ValidationError("--limit is a number from 1 to 100000") }
    }
}

/// A query whose rows are shown as a table, or as JSON.
///
/// The server renders the values, so that a listing needs no code of its own: write the query between
/// ``Listing/open`` and ``Listing/close``.
enum Listing {
    static let open = """
        select r.line::text as line,
            array(select e.key from json_each_text(r.line) with ordinality as e(key, value, n) order by e.n) as names,
            array(select e.value from json_each_text(r.line) with ordinality as e(key, value, n) order by e.n) as cells
        from (select koppeling.in_utc(row_to_json(t)) as line from (

        """
    /// Without the offset each use of a line would make it anew.
    static let close = "\n) t offset 0) r"

    /// Shows the rows of the query; says so on stderr when there are none.
    static func show(_ query: Query, from pool: Pool, json: Bool) async throws {
        let rows = try await pool.query(query)
        if json {
            for row in rows { Console.line(try row.decode("line", as: String.self)) }
            return
        }
        guard let first = rows.first else {
            Console.error("There are none.")
            return
        }
        var table = [try first.decode("names", as: [String].self)]
        for row in rows { table.append(try row.decode("cells", as: [String?].self).map { $0 ?? "" }) }
        for line in aligned(table) { Console.line(line) }
    }

    /// Shows the one row of the query, a line for each of its values; fails with the message when there is none.
    static func showOne(_ query: Query, from pool: Pool, json: Bool, orFail missing: String? = nil) async throws {
        guard let row = try await pool.query(query).first else {
            if let missing { throw Failure(missing) }
            return
        }
        if json {
            Console.line(try row.decode("line", as: String.self))
            return
        }
        let names = try row.decode("names", as: [String].self)
        let cells = try row.decode("cells", as: [String?].self)
        for line in aligned(zip(names, cells).map { [$0, $1 ?? ""] }) { Console.line(line) }
    }

    /// The lines with their cells under each other, two spaces apart.
    static func aligned(_ table: [[String]]) -> [String] {
        var widths: [Int] = []
        for line in table {
            for (column, cell) in line.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return table.map { line in
            var text = ""
            for (column, cell) in line.enumerated() {
                text += cell
                if column < line.count - 1 { text += String(repeating: " ", count: widths[column] - cell.count + 2) }
            }
            return text
        }
    }
}
