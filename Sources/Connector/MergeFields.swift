import FoundationEssentials
import Mailchimp
public import Postgres

/// What fills the merge fields of a list: which field of a person goes to which tag.
public struct MergeFields: Sendable {
    /// The fields that are made for the names where a list has none, by tag.
    static let names = ["FNAME": "First Name", "LNAME": "Last Name"]

    private let pool: Pool
    private let accounts: Accounts

    /// The mappings of a database.
    public init(pool: Pool, accounts: Accounts) {
        self.pool = pool
        self.accounts = accounts
    }

    /// Reads the list's fields again, and opens or ends the task about what is wrong with the mapping.
    public func refresh(instance: Instances.Instance) async throws {
        try await refresh(instance, making: [:])
    }

    /// Lets a field of the persons fill a merge field; whoever has another value gets it.
    ///
    /// - Parameters:
    ///   - tag: the merge field's tag, such as `FNAME`.
    ///   - source: what fills it, such as `first_name` or `company`.
    ///   - triggers: whether a change of it alone is reason for an update.
    ///   - name: makes the field under this name where the list has none of this tag; nil makes none.
    ///   - instance: whose list it is.
    ///   - actor: who maps, for the audit.
    /// - Throws: `PostgresError` when the list has no such field or it takes no such text.
    public func map(
        _ tag: String, to source: String, triggers: Bool = true, makingNamed name: String? = nil,
        instance: Instances.Instance, actor: String
    ) async throws {
        try await refresh(instance, making: name.map { [tag: $0] } ?? [:])
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.map_merge_field(\(String(instance.id))::text, \(tag)::text, \(source)::text,
                    \(triggers)::boolean, \(actor)::text)
                """)
        }
    }

    /// Leaves a merge field to the list; what stands in it stays.
    public func unmap(_ tag: String, instance: Instances.Instance, actor: String) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.unmap_merge_field(\(String(instance.id))::text, \(tag)::text, \(actor)::text)
                """)
        }
    }

    private func refresh(_ instance: Instances.Instance, making names: [String: String]) async throws {
        let (client, _) = try await accounts.client(account: try await accounts.find(instance.account).id)
        let fields = try await Self.read(client, instance.listID, making: names)
        try await Self.store(fields, instance: instance.id, on: pool)
    }

    /// Stores what a list's fields are.
    static func store(_ fields: JSONText, instance: Int64, on pool: Pool) async throws {
        try await pool.transaction { connection in
            try await connection.query("select koppeling.observe_fields(\(instance)::bigint, \(fields)::jsonb)")
        }
    }

    /// The fields of a list as `koppeling.observe_fields` takes them, after those were made that it lacks.
    static func read(
        _ client: MailchimpClient, _ list: String, making names: [String: String] = [:]
    ) async throws -> JSONText {
        var fields = try await client.mergeFields(list)
        for (tag, name) in names.sorted(by: { $0.key < $1.key }) where !fields.contains(where: { $0.tag == tag }) {
            fields.append(try await client.addMergeField(list, NewMergeField(tag: tag, name: name)))
        }
        return try JSONText(encoding: fields.map(Observed.init))
    }

    private struct Observed: Encodable {
        var tag: String
        var name: String
        var type: String
        var required: Bool
        var choices: [String]

        init(_ field: MergeField) {
            tag = field.tag
            name = field.name
            type = field.type
            required = field.isRequired
            choices = field.choices
        }
    }
}
