public import Postgres

/// The person file.
///
/// Whoever changes a person here only records facts: the memberships that follow from them are brought up to date by a
/// job that the same transaction enqueues.
public struct Persons: Sendable {
    private let pool: Pool

    /// The person file in the database of this pool.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Adds and changes the persons of a JSON list; a fault in any of them changes nothing.
    ///
    /// What is absent stays, null clears, a list replaces the list; see the documentation of the fields.
    ///
    /// - Returns: How many persons the list holds.
    @discardableResult
    public func put(_ persons: JSONText) async throws(TargetGroupsError) -> Int64 {
        try await translated {
            try await pool.query("select koppeling.put_persons(\(persons)::jsonb)").scalar()
        }
    }

    /// The person with this identity, which is compared without case.
    public func find(source: String, id: String) async throws(TargetGroupsError) -> Person? {
        try await translated {
            let rows = try await pool.query(
                "select koppeling.person_json(koppeling.find_person(\(source)::text, \(id)::text))")
            return try rows.scalar(as: JSONText?.self)?.decode(Person.self)
        }
    }

    /// Persons who hold this address, under any kind and in any spelling; the first hundred.
    public func holding(address: String) async throws(TargetGroupsError) -> [Person] {
        try await translated {
            let rows = try await pool.query(
                """
                select koppeling.person_json(h.person_id) as person
                from (
                    select distinct e.person_id from koppeling.email_address e
                    where e.address_key = koppeling.address_key(\(address)::text)
                    order by e.person_id limit 100
                ) h
                """)
            return try rows.map { row in try row.decode("person", as: JSONText.self).decode(Person.self) }
        }
    }

    /// Takes a person out of every group and keeps the record.
    public func archive(source: String, id: String, actor: String) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query("select koppeling.archive_person(\(source)::text, \(id)::text, \(actor)::text)")
        }
    }

    /// Lets an archived person take part again.
    public func reactivate(source: String, id: String, actor: String) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query("select koppeling.reactivate_person(\(source)::text, \(id)::text, \(actor)::text)")
        }
    }

    /// Merges the other record of a person into the survivor's, who keeps her own facts and gets what she lacks.
    ///
    /// Of what binds either the stricter holds, and claims go over. The other identity means the survivor from now on.
    public func merge(_ other: Identity, into survivor: Identity, actor: String) async throws(TargetGroupsError) {
        try await translated {
            try await pool.query(
                """
                select koppeling.merge_persons(
                    \(survivor.source)::text, \(survivor.id)::text, \(other.source)::text, \(other.id)::text,
                    \(actor)::text)
                """)
        }
    }

    /// Records the person's own no: for one group, or for every one, linked or not, and those that are made later.
    ///
    /// - Returns: For how many groups that there are it was recorded.
    @discardableResult
    public func unsubscribe(
        source: String, id: String, group: String? = nil, actor: String
    ) async throws(TargetGroupsError) -> Int64 {
        try await translated {
            try await pool.query(
                "select koppeling.unsubscribe_person(\(source)::text, \(id)::text, \(group)::text, \(actor)::text)"
            ).scalar()
        }
    }

    /// Records the person's own request to be invited again after a no, to one group or to every one she said no to.
    ///
    /// Mailchimp asks the contact, and his yes alone brings the person back.
    ///
    /// - Returns: To how many groups she is invited.
    @discardableResult
    public func invite(
        source: String, id: String, group: String? = nil, actor: String
    ) async throws(TargetGroupsError) -> Int64 {
        try await translated {
            try await pool.query(
                "select koppeling.invite_person(\(source)::text, \(id)::text, \(group)::text, \(actor)::text)"
            ).scalar()
        }
    }
}
