import Hummingbird
import Postgres

extension Response {
    /// A page of rows under a name, `{"NAME": [...], "next": ...}`; `next` is null when the page is not full.
    ///
    /// Each row has `line`, what is shown of it as JSON, and `key`, where the page after it begins, as JSON.
    static func page(_ name: String, of rows: Rows, most: Int64) throws -> Response {
        let lines = try rows.map { row in try row.decode("line", as: String.self) }
        let next = Int64(rows.count) == most ? try rows.last?.decode("key", as: String.self) : nil
        return Response(JSONText("{\"\(name)\":[\(lines.joined(separator: ","))],\"next\":\(next ?? "null")}"))
    }

    /// A page of values under a name, `{"NAME": [...], "next": ...}`; `next` is null at the end.
    ///
    /// With a version, the page says which one it is a page of.
    static func page(
        _ name: String, of values: some Encodable, next: (some Encodable)?, version: Int? = nil
    ) throws -> Response {
        let next = try next.map { try JSONText(encoding: $0).text } ?? "null"
        let version = version.map { "\"version\":\($0)," } ?? ""
        return Response(JSONText("{\(version)\"\(name)\":\(try JSONText(encoding: values)),\"next\":\(next)}"))
    }
}
