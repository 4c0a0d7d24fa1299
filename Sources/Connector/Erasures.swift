import FoundationEssentials
public import Postgres

/// Erases persons: from the database at once, from Mailchimp by the actions that follow.
public struct Erasures: Sendable {
    private let pool: Pool
    private let key: ErasureKey

    /// The erasures of a database; the vault opens the key of their ledger.
    public init(pool: Pool, vault: Vault) {
        self.pool = pool
        key = ErasureKey(pool: pool, vault: vault)
    }

    /// Erases a person; somebody who was erased already is reported as she is.
    ///
    /// - Parameters:
    ///   - source: the system that the person comes from.
    ///   - id: the identity in that system.
    ///   - actor: who erases, for the report.
    ///   - proves: whether every table is searched for the addresses that were known of her, and for these; reads the
    ///     whole database.
    ///   - addresses: more addresses to search for. Once she is erased, none is known here any more.
    ///   - isDryRun: whether all is taken back: the report says what would be removed.
    /// - Returns: the report, as JSON: what was removed, what becomes of each contact, and the traces that are left, null
    ///   where no address was known to search for.
    /// - Throws: ``ConnectorError`` when there is no such person.
    public func erase(
        source: String, id: String, actor: String, proves: Bool = false, addresses: [String] = [],
        isDryRun: Bool = false
    ) async throws -> JSONText {
        let key = try await key.bytes()
        struct TakenBack: Error { var report: JSONText }
        do {
            return try await pool.transaction { connection in
                let known = try await connection.query(
                    "select koppeling.texts_of(koppeling.find_person(\(source)::text, \(id)::text)) as texts"
                ).first?.decode("texts", as: [String]?.self)
                let rows = try await connection.query(
                    """
                    select coalesce(koppeling.erase_person_now(
                            koppeling.find_person(\(source)::text, \(id)::text), \(key)::bytea, \(actor)::text),
                        koppeling.find_erasure(\(key)::bytea, \(source)::text, \(id)::text)) as erasure
                    """)
                guard let erasure = try rows.first?.decode("erasure", as: Int64?.self) else {
                    throw ConnectorError(
                        .notFound,
                        "there is no person with source \"\(source)\" and id \"\(id)\", and none was erased: check both"
                    )
                }
                let texts = (known ?? []) + addresses
                let report: JSONText = try await connection.query(
                    """
                    select koppeling.erasure_report(\(erasure)::bigint)
                        || case when \(proves)::boolean
                           then jsonb_build_object('traces', koppeling.traces(\(texts)::text[])) else '{}' end
                        || jsonb_build_object('is_dry_run', \(isDryRun)::boolean)
                    """
                ).scalar()
                if isDryRun { throw TakenBack(report: report) }
                return report
            }
        } catch let taken as TakenBack {
            return taken.report
        }
    }

    /// The key of the ledger, for whoever asks it in a transaction of his own; nil when nobody was erased yet.
    public func ledgerKey() async throws -> [UInt8]? { try await key.existing() }

    /// What to tell whoever names somebody of this identity; nil when nobody of it was erased.
    public func told(source: String, id: String) async throws -> String? {
        guard let key = try await key.existing() else { return nil }
        let erased = try await pool.query(
            """
            select to_char(e.erased_at at time zone 'UTC', 'YYYY-MM-DD') as day from koppeling.erasure e
            where e.id = koppeling.find_erasure(\(key)::bytea, \(source)::text, \(id)::text)
            """)
        return try erased.first.map { row in
            "\(source) \(id) was erased on \(try row.decode("day", as: String.self)); nothing is held"
        }
    }

    /// How many of these persons, in the JSON of a put, were erased: nothing of them is taken in.
    public func count(amongPuts persons: JSONText) async throws -> Int64 {
        guard let key = try await key.existing() else { return 0 }
        return try await pool.query("select koppeling.erased_among(\(key)::bytea, \(persons)::jsonb)").scalar()
    }

    /// Erases the person of this number.
    func erase(person: Int64, actor: String) async throws {
        let key = try await key.bytes()
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.erase_person_now(\(person)::bigint, \(key)::bytea, \(actor)::text)")
        }
    }

    /// Holds the next persons who came in, or were given an address, against the ledger; false when there are none.
    func checkNext() async throws -> Bool {
        let key = try await key.bytes()
        return try await pool.transaction { connection in
            try await connection.query("select koppeling.check_erasures(\(key)::bytea, 1000) > 0").scalar()
        }
    }

    /// Holds everybody's addresses against the ledger for one group, some thousand persons a transaction.
    func check(group: Int64) async throws {
        let key = try await key.bytes()
        var last: Int64? = 0
        while let after = last {
            last = try await pool.transaction { connection in
                try await connection.query(
                    """
                    select koppeling.check_group_erasures(\(key)::bytea, \(group)::bigint, \(after)::bigint, 5000) as last
                    """
                ).first?.decode("last", as: Int64?.self) ?? nil
            }
            try Task.checkCancellation()
        }
    }
}
