public import Postgres

/// The target groups.
public struct Groups: Sendable {
    private let pool: Pool

    /// The target groups in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// The groups by name, a page of them, after the name that the page before ended with.
    public func list(after name: String? = nil, limit: Int = 100) async throws(TargetGroupsError) -> [TargetGroup] {
        try await translated {
            let rows = try await pool.query(
                """
                select g.*, c.active, c.inactive
                from (
                    select * from koppeling.target_group
                    where \(name)::text is null or koppeling.fold(name) > koppeling.fold(\(name)::text)
                    order by koppeling.fold(name)
                    limit \(min(max(limit, 1), 1000))::bigint
                ) g
                cross join lateral (
                    select
                        count(*) filter (where m.status = 'active') as active,
                        count(*) filter (where m.status = 'inactive') as inactive
                    from koppeling.membership m where m.target_group_id = g.id
                ) c
                order by koppeling.fold(g.name)
                """)
            return try rows.map { row in try TargetGroup(row) }
        }
    }

    /// The group of this name, which is compared without case.
    public func find(_ name: String) async throws(TargetGroupsError) -> TargetGroup? {
        try await translated {
            let rows = try await pool.query(
                """
                select
                    g.*, count(m) filter (where m.status = 'active') as active,
                    count(m) filter (where m.status = 'inactive') as inactive
                from koppeling.target_group g
                left join koppeling.membership m on m.target_group_id = g.id
                where koppeling.fold(g.name) = koppeling.fold(koppeling.clean_text(\(name)::text))
                group by g.id
                """)
            return try rows.first.map { row in try TargetGroup(row) }
        }
    }

    /// The group of this name, or an error that says there is none.
    public func require(_ name: String) async throws(TargetGroupsError) -> TargetGroup {
        guard let group = try await find(name) else {
            throw TargetGroupsError(
                .notFound, "there is no target group \"\(name)\"; list the groups to see their names")
        }
        return group
    }

    /// Makes a group without rules, and so without members.
    public func create(_ name: String) async throws(TargetGroupsError) -> TargetGroup {
        try await translated {
            let rows = try await pool.query(
                """
                insert into koppeling.target_group (name)
                select n from koppeling.clean_text(\(name)::text) n where length(n) between 1 and 200
                on conflict (koppeling.fold(name)) do nothing
                returning name
                """)
            guard rows.isEmpty else { return }
            guard try await find(name) == nil else {
                throw TargetGroupsError(.exists, "there is a target group \"\(name)\" already; choose another name")
            }
            throw TargetGroupsError(.badInput, "the name of a target group has 1 to 200 characters")
        }
        return try await require(name)
    }

    /// Deletes a group that is not linked, with its rules and memberships; what persons said stays in the ledger.
    public func delete(_ name: String, actor: String) async throws(TargetGroupsError) {
        let group = try await require(name)
        try await translated {
            try await pool.unlimitedTransaction { connection in
                _ = try await connection.query("select koppeling.delete_group(\(group.id)::bigint, \(actor)::text)")
            }
        }
    }
}

extension TargetGroup {
    fileprivate init(_ row: Row) throws {
        id = try row.decode("id")
        name = try row.decode("name")
        emailKind = try row.decode("email_kind")
        isLinked = try row.decode("linked")
        isValid = try row.decode("valid")
        rulesVersion = try row.decode("rules_version")
        active = try row.decode("active")
        inactive = try row.decode("inactive")
    }
}
