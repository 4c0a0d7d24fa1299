public import Postgres

/// The memberships of target groups.
public struct Memberships: Sendable {
    let pool: Pool

    /// The memberships in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Adds a person by hand, removes her by hand, or leaves it to the rules again.
    ///
    /// The membership is derived at once. No decision lifts a suppression: whoever said no stays inactive.
    public func setOverride(
        _ override: Override, person: Int64, group: Int64, actor: String
    ) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query(
                """
                select koppeling.set_override(
                    \(group)::bigint, \(person)::bigint, \(override.rawValue)::text, \(actor)::text)
                """)
        }
    }

    /// The same for the person of an identity.
    public func setOverride(
        _ override: Override, source: String, id: String, group: Int64, actor: String
    ) async throws(TargetGroupsError) {
        let person: Int64 = try await translated {
            try await pool.query("select koppeling.require_person(\(source)::text, \(id)::text)").scalar()
        }
        try await setOverride(override, person: person, group: group, actor: actor)
    }

    /// Lets a person back in who was archived inside Mailchimp, or whose contact signed up again there after a no.
    ///
    /// - Throws: ``TargetGroupsError`` when something stands against it; the message says what, and what helps.
    public func readmit(source: String, id: String, group: String, actor: String) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query(
                """
                select koppeling.readmit_person(\(source)::text, \(id)::text, \(group)::text, \(actor)::text)
                """)
        }
    }

    /// The memberships of a group by family name, up to a thousand a page.
    public func list(
        group: Int64, status: Membership.Status? = nil, after cursor: MembershipPage.Cursor? = nil, limit: Int = 100
    ) async throws(TargetGroupsError) -> MembershipPage {
        let limit = min(max(limit, 1), 1000)
        return try await translated {
            let rows = try await pool.query(
                """
                select
                    koppeling.fold(coalesce(p.family_name, '')) as sort_name, m.person_id, p.source, p.external_id,
                    koppeling.first_name(p.given_name, p.initials) as first_name,
                    koppeling.last_name(p.prefixes, p.family_name) as last_name,
                    e.address, m.status, m.via, m.reasons, m.override, m.changed_at
                from koppeling.membership m
                join koppeling.target_group g on g.id = m.target_group_id
                join koppeling.person p on p.id = m.person_id
                left join koppeling.email_address e on e.person_id = m.person_id and e.kind = g.email_kind
                where m.target_group_id = \(group)::bigint
                    and (\(status?.rawValue)::text is null or m.status = \(status?.rawValue)::text)
                    and (\(cursor?.person)::bigint is null
                        or (koppeling.fold(coalesce(p.family_name, '')) collate "nl-x-icu", p.id)
                            > (\(cursor?.name)::text, \(cursor?.person)::bigint))
                order by koppeling.fold(coalesce(p.family_name, '')) collate "nl-x-icu", p.id
                limit \(limit)::bigint
                """)
            var page = MembershipPage(memberships: try rows.map { row in try Membership(row) })
            if rows.count == limit, let last = rows.last {
                page.next = .init(name: try last.decode("sort_name"), person: try last.decode("person_id"))
            }
            return page
        }
    }
}

extension Membership {
    fileprivate init(_ row: Row) throws {
        person = try row.decode("person_id")
        source = try row.decode("source")
        externalID = try row.decode("external_id")
        firstName = try row.decode("first_name")
        lastName = try row.decode("last_name")
        address = try row.decode("address")
        status = try row.decode("status", as: String.self).named()
        via = try row.decode("via", as: String?.self).map { try $0.named() }
        reasons = try row.decode("reasons", as: [String].self).map { try $0.named() }
        override = try row.decode("override", as: String.self).named()
        changedAt = try row.decode("changed_at")
    }
}

extension String {
    /// The case of an enumeration that the database names.
    func named<Value: RawRepresentable<String>>() throws(TargetGroupsError) -> Value {
        guard let value = Value(rawValue: self) else {
            throw TargetGroupsError(.database, "the database speaks of \"\(self)\", which this version does not know")
        }
        return value
    }
}
