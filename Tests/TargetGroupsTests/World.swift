import Postgres
import TargetGroups
import TestSupport

/// Short ways to say what a test of persons and groups needs.
struct World {
    let pool: Pool
    let persons: Persons
    let groups: Groups
    let rules: Rules
    let memberships: Memberships

    /// The world in the database of the running test.
    init() {
        pool = TestDatabase.current.pool
        persons = Persons(pool: pool)
        groups = Groups(pool: pool)
        rules = Rules(pool: pool)
        memberships = Memberships(pool: pool)
    }

    /// Puts a person of source "crm" and returns her number.
    @discardableResult
    func put(_ id: String, email: String?? = nil, categories: [String]? = nil, name: String? = nil) async throws
        -> Int64
    {
        var fields = [#""source": "crm", "id": "\#(id)""#]
        if let name { fields.append(#""family_name": "\#(name)""#) }
        if let email { fields.append(#""emails": {"zakelijk": \#(email.map { #""\#($0)""# } ?? "null")}"#) }
        if let categories {
            fields.append(#""categories": [\#(categories.map { #""\#($0)""# }.joined(separator: ", "))]"#)
        }
        let person = JSONText("{\(fields.joined(separator: ", "))}")
        return try await pool.query("select koppeling.put_person(\(person)::jsonb)").scalar()
    }

    /// Makes a group that writes to the kind "zakelijk", with one rule a list of categories.
    func group(_ name: String = "Nieuwsbrief", rules: [[Criterion]] = [[Criterion("Mailingen / Nieuwsbrief")]])
        async throws -> Int64
    {
        let group = try await groups.create(name)
        try await pool.query(
            "update koppeling.target_group set linked = true, email_kind = 'zakelijk' where id = \(group.id)::bigint")
        let labels = rules.joined().filter { $0.kind == .personCategory }.compactMap(\.value)
        try await pool.query("select koppeling.make_categories(\(labels)::text[])")
        _ = try await self.rules.save(rules, group: group.id, over: 1, confirmOnlyNegated: true, actor: "test")
        return group.id
    }

    /// Evaluates until nothing waits.
    func evaluate() async throws {
        while try await pool.query("select koppeling.evaluate_requests(1000)").scalar(as: Int64.self) > 0 {}
    }

    /// What the database holds of a person in a group.
    func membership(_ person: Int64, _ group: Int64) async throws -> Verdict? {
        let rows = try await pool.query(
            """
            select status, via, reasons from koppeling.membership
            where target_group_id = \(group)::bigint and person_id = \(person)::bigint
            """)
        return try rows.first.flatMap { row in try Verdict(row) }
    }

    /// Records what Mailchimp said of a contact, now or at some moment; returns whose status changed.
    @discardableResult
    func found(
        _ reason: String, at address: String?, contact: String? = nil, claimants: [Int64] = [], group: Int64,
        said: String? = nil
    ) async throws -> [Int64] {
        let rows = try await pool.query(
            """
            select koppeling.open_suppression(
                \(group)::bigint, \(reason)::text, \(address)::text, \(contact)::text, \(claimants)::bigint[],
                'mailchimp', coalesce(\(said)::text::timestamptz, koppeling.now()), '{}')
            """)
        return try rows.map { row in try row.decode(0) }
    }

    /// Ends what is open for these reasons at an address and at persons.
    func lift(_ reasons: [String], at address: String?, persons: [Int64] = [], group: Int64) async throws {
        try await pool.query(
            """
            select koppeling.lift_suppressions(
                \(group)::bigint, \(reasons)::text[], \(address)::text, null, \(persons)::bigint[], 'user', 'test')
            """)
    }
}

extension Verdict {
    static let byRule = Verdict(status: "active", via: "rule", reasons: [])
    static let byHand = Verdict(status: "active", via: "manual", reasons: [])

    static func inactive(_ reasons: String...) -> Verdict {
        Verdict(status: "inactive", via: nil, reasons: reasons)
    }
}
