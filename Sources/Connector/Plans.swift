public import FoundationEssentials
public import Postgres

/// The change plans: what a recompute would change, held until a person approves it.
public struct Plans: Sendable {
    /// A plan in numbers.
    public struct Plan: Sendable, Codable {
        /// Its number.
        public var id: Int64
        /// The target group it belongs to.
        public var targetGroup: String
        /// `held`, `approved` while it is being applied, `applied`, `discarded` or `dissolved`.
        public var state: String
        /// The version to name when approving: a later recompute raises it.
        public var version: Int
        /// Why the brake held it.
        public var heldBecause: String
        /// Persons who would be created in the list.
        public var joins: Int
        /// Persons who would be archived there.
        public var leaves: Int
        /// Persons who would lose the content of a mapped field.
        public var emptied: Int
        /// When it was first held.
        public var createdAt: Date
        /// When it was approved or discarded, or dissolved.
        public var decidedAt: Date?
        /// Who decided.
        public var decidedBy: String?

        private enum CodingKeys: String, CodingKey {
            case id, state, version, joins, leaves, emptied
            case targetGroup = "target_group"
            case heldBecause = "held_because"
            case createdAt = "created_at"
            case decidedAt = "decided_at"
            case decidedBy = "decided_by"
        }
    }

    /// What brought some of a plan's lines about.
    public struct Cause: Sendable, Codable {
        /// What it was: `rules`, `put`, an import.
        public var cause: String
        /// `join`, `leave` or `empty`.
        public var change: String
        /// Why, in the words of the membership's status.
        public var reason: String
        /// How many persons it concerns.
        public var persons: Int64
    }

    /// One person's line of a plan.
    public struct Line: Sendable, Codable {
        /// The person's number here; pass the last one to get the next page.
        public var person: Int64
        /// The system that the person comes from.
        public var source: String
        /// The person's id in that system.
        public var id: String
        /// The person's name.
        public var name: String
        /// `join`, `leave` or `empty`.
        public var change: String
        /// Why, in the words of the membership's status.
        public var reason: String
        /// What brought it about: `rules`, `put`, an import.
        public var cause: String
        /// The rule by which the person would join; nil for everything else.
        public var rule: Int?
        /// The merge fields that would be emptied, with a comma between them; nil for everything else.
        public var fields: String?
    }

    private let pool: Pool

    /// The plans of a database.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// A page of plans, the newest first, up to a thousand: of one state, such as `held`, or of all; with lower numbers
    /// than the last one of the page before.
    public func list(state: String? = nil, before number: Int64? = nil, limit: Int = 100) async throws -> [Plan] {
        let rows = try await pool.query(
            """
            select id, target_group, state, version, held_because, joins, leaves, emptied, created_at, decided_at,
                   decided_by
            from koppeling.plans
            where (\(state)::text is null or state = \(state)::text)
                and (\(number)::bigint is null or id < \(number)::bigint)
            order by id desc
            limit \(min(max(limit, 1), 1000))::int
            """)
        return try rows.map(Self.plan)
    }

    /// The plan of this number.
    ///
    /// - Throws: ``ConnectorError`` when there is none.
    public func find(_ plan: Int64) async throws -> Plan {
        let rows = try await pool.query(
            """
            select id, target_group, state, version, held_because, joins, leaves, emptied, created_at, decided_at,
                   decided_by
            from koppeling.plans where id = \(plan)::bigint
            """)
        guard let row = rows.first else {
            throw ConnectorError(.notFound, "there is no plan \(plan); list the plans to see their numbers")
        }
        return try Self.plan(row)
    }

    private static func plan(_ row: Row) throws -> Plan {
        Plan(
            id: try row.decode("id"), targetGroup: try row.decode("target_group"), state: try row.decode("state"),
            version: Int(try row.decode("version", as: Int32.self)), heldBecause: try row.decode("held_because"),
            joins: Int(try row.decode("joins", as: Int64.self)), leaves: Int(try row.decode("leaves", as: Int64.self)),
            emptied: Int(try row.decode("emptied", as: Int64.self)), createdAt: try row.decode("created_at"),
            decidedAt: try row.decode("decided_at"), decidedBy: try row.decode("decided_by"))
    }

    /// What brought a plan about, what concerns most persons first.
    public func causes(plan: Int64, limit: Int = 100) async throws -> [Cause] {
        let rows = try await pool.query(
            """
            select cause, change, reason, persons from koppeling.plan_causes
            where plan = \(plan)::bigint
            order by persons desc, cause, change, reason
            limit \(min(max(limit, 1), 1000))::int
            """)
        return try rows.map { row in
            Cause(
                cause: try row.decode("cause"), change: try row.decode("change"), reason: try row.decode("reason"),
                persons: try row.decode("persons"))
        }
    }

    /// A page of a plan's lines in the order of the persons' numbers.
    public func lines(plan: Int64, after person: Int64 = 0, limit: Int = 100) async throws -> [Line] {
        let rows = try await pool.query(
            """
            select person, source, id, name, change, reason, cause, rule, fields
            from koppeling.plan_lines
            where plan = \(plan)::bigint and person > \(person)::bigint
            order by person
            limit \(limit)::int
            """)
        return try rows.map { row in
            Line(
                person: try row.decode("person"), source: try row.decode("source"), id: try row.decode("id"),
                name: try row.decode("name"), change: try row.decode("change"), reason: try row.decode("reason"),
                cause: try row.decode("cause"),
                rule: try row.decode("rule", as: Int32?.self).map(Int.init), fields: try row.decode("fields"))
        }
    }

    /// Writes all lines of a plan as CSV with a header, piece by piece.
    public func export(plan: Int64, to write: ([UInt8]) async throws -> Void) async throws {
        try await pool.withConnection { connection in
            try await connection.copyOut(
                """
                copy (
                    select source, id, name, address, change, reason, cause, rule, fields
                    from koppeling.plan_lines
                    where plan = \(plan) order by person
                ) to stdout (format csv, header)
                """, write)
        }
    }

    /// Approves a plan: a small one is applied at once, a large one by workers, piece by piece.
    ///
    /// - Parameters:
    ///   - plan: the plan's number.
    ///   - version: the version that the person looked at.
    ///   - actor: who approves, for the audit.
    /// - Returns: how many persons it concerned.
    /// - Throws: `PostgresError` when there is no such plan, it is not held, or it changed since.
    public func approve(plan: Int64, version: Int, actor: String) async throws -> Int {
        let persons: Int64 = try await pool.query(
            """
            select koppeling.approve_plan(\(plan)::bigint, \(Int32(clamping: version))::int, \(actor)::text)
            """
        ).scalar()
        return Int(persons)
    }

    /// Discards a plan that rules alone caused, by putting back the rules of before.
    ///
    /// - Parameters:
    ///   - plan: the plan's number.
    ///   - version: the version that the person looked at.
    ///   - actor: who discards, for the audit.
    /// - Returns: how many lines are left, of persons who changed meanwhile.
    /// - Throws: `PostgresError` when facts caused some of it, it is not held, or it changed since.
    public func discard(plan: Int64, version: Int, actor: String) async throws -> Int {
        let left: Int64 = try await pool.query(
            """
            select koppeling.discard_plan(\(plan)::bigint, \(Int32(clamping: version))::int, \(actor)::text)
            """
        ).scalar()
        return Int(left)
    }
}
