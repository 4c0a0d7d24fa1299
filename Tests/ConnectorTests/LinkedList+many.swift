import FoundationEssentials
import Postgres
import TargetGroups
import Testing

@testable import Connector

/// Many persons at once, and the plans that come of it.
extension LinkedList {
    /// Puts persons in one call, as `put` does each of them.
    func put(
        _ ids: Range<Int>, isMember: Bool = true, _ fields: String = "{}", domain: String = "post.koppeling.nl"
    ) async throws {
        let categories = isMember ? #"["\#(Self.category)"]"# : "[]"
        try await pool.query(
            """
            select koppeling.put_persons(jsonb_agg(jsonb_build_object(
                'source', 'test', 'id', n::text, 'given_name', 'Jan', 'family_name', 'Berg ' || n,
                'emails', jsonb_build_object('zakelijk', format('persoon%s@%s', n, \(domain)::text)),
                'categories', \(JSONText(categories))::jsonb) || \(JSONText(fields))::jsonb))
            from generate_series(\(Int64(ids.lowerBound))::bigint, \(Int64(ids.upperBound - 1))::bigint) n
            """)
    }

    /// Imports a file of persons with this text, named persons.csv.
    @discardableResult
    func imported(_ text: String, name: String = "persons.csv") async throws -> ImportReport {
        let folder = FileManager.default.temporaryDirectory.appending(path: "koppeling-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appending(path: name)
        try Data(text.utf8).write(to: file)
        return try await FileImport(path: file.path).run(in: pool)
    }

    /// Makes the brake hold more removals, or joins, than so many.
    func brake(removals: Int? = nil, joins: Int? = nil) async throws {
        try await pool.query(
            """
            update koppeling.connector_instance
            set removals_count = coalesce(\(removals.map { Int32($0) })::int, removals_count),
                removals_share = case when \(removals != nil)::boolean then 0 else removals_share end,
                removals_cap = greatest(removals_cap, \(Int32(removals ?? 0))::int),
                joins_count = coalesce(\(joins.map { Int32($0) })::int, joins_count),
                joins_share = case when \(joins != nil)::boolean then 0 else joins_share end
            """)
    }

    /// The plan that is held, if there is one.
    func heldPlan() async throws -> Plans.Plan? {
        try await Plans(pool: pool).list().first { $0.state == "held" }
    }

    /// How many contacts the database knows with this status.
    func members(_ status: String) async throws -> Int {
        try await pool.query(
            "select count(*) from koppeling.audience_member where status = \(status)::text"
        ).scalar()
    }

    /// Saves rules as their JSON says them.
    func saveRules(_ rules: String) async throws {
        try await pool.query(
            """
            select koppeling.save_rules(g.id, g.rules_version, \(JSONText(rules))::jsonb, true, 'test')
            from koppeling.target_group g
            """)
    }

    /// The rules as JSON.
    func rules() async throws -> String {
        try await pool.query("select koppeling.rules_json(id)::text from koppeling.target_group").scalar()
    }

    /// Takes in a hook, as the door does once it has verified it.
    func receive(_ type: String, _ data: String) async throws {
        let stored: String = try await pool.query(
            """
            select koppeling.receive_webhook(i.id, i.webhook_secret_hash,
                jsonb_build_object('type', \(type)::text, 'data', \(JSONText(data))::jsonb))
            from koppeling.connector_instance i
            """
        ).scalar()
        #expect(stored == "stored")
    }
}
