public import Postgres

/// Everything in the database that is sealed, for the replacement of the key.
public struct SealedValues: Sendable {
    /// How the sealed values stand.
    public struct Census: Sendable, Equatable {
        /// How many the present key sealed.
        public var current = 0
        /// How many a previous one sealed.
        public var previous = 0
        /// Those that no known key opens, named by whose they are.
        public var closed: [String] = []
    }

    private let pool: Pool
    private let vault: Vault

    /// The sealed values of a database, as the keys of the vault see them.
    public init(pool: Pool, vault: Vault) {
        self.pool = pool
        self.vault = vault
    }

    /// Opens every value to see by which key it was sealed.
    public func census() async throws -> Census {
        var census = Census()
        var last: Value?
        while true {
            let values = try await values(after: last, notBeginningWith: [])
            for value in values {
                switch (try? vault.open(value.sealed, for: value.purpose), vault.seal(of: value.sealed)) {
                case (nil, _): census.closed.append(value.name)
                case (_, .current): census.current += 1
                default: census.previous += 1
                }
            }
            guard let end = values.last else { return census }
            last = end
        }
    }

    /// Seals anew, with the present key, what another one sealed.
    ///
    /// May be broken off and begun again at any moment, and run beside everything else: each value is replaced by itself,
    /// and only if nobody else did so meanwhile.
    ///
    /// - Returns: how many were sealed anew, and whose could not be opened.
    public func reseal() async throws -> (resealed: Int, closed: [String]) {
        var resealed = 0
        var closed: [String] = []
        var last: Value?
        while true {
            let values = try await values(after: last, notBeginningWith: vault.mark)
            for value in values {
                guard let secret = try? vault.open(value.sealed, for: value.purpose) else {
                    closed.append(value.name)
                    continue
                }
                if try await replace(value, by: secret) { resealed += 1 }
            }
            guard let end = values.last else {
                if closed.isEmpty { try await pool.query("select koppeling.adopt_key(\(vault.marks)::text[])") }
                return (resealed, closed)
            }
            last = end
        }
    }

    private enum Place: Int64 {
        case credential = 1
        case webhookSecret = 2
        case signingSecret = 3
        case erasureKey = 4
    }

    private struct Value {
        let place: Place
        let id: Int64
        let name: String
        let purpose: String
        let sealed: [UInt8]
    }

    private static var batch: Int { 100 }

    private func values(after last: Value?, notBeginningWith mark: [UInt8]) async throws -> [Value] {
        let rows = try await pool.query(
            """
            select v.place, v.id, v.name, v.subject, v.sealed
            from (
                select 1::bigint as place, id, name, data_centre || ':' || login_id as subject, credential as sealed
                from koppeling.mailchimp_account
                union all
                select 2, id, name, list_id, webhook_secret
                from koppeling.connector_instance
                union all
                select 3, id, name, list_id, webhook_signing_secret
                from koppeling.connector_instance
                where webhook_signing_secret is not null
                union all
                select 4, 1, '', '', sealed
                from koppeling.erasure_key
            ) v
            where (v.place, v.id) > (\(last?.place.rawValue ?? 0)::bigint, \(last?.id ?? 0)::bigint)
              and (\(mark)::bytea = '' or substr(v.sealed, 1, length(\(mark)::bytea)) <> \(mark)::bytea)
            order by v.place, v.id
            limit \(Self.batch)::int
            """)
        return try rows.compactMap { row in
            guard let place = Place(rawValue: try row.decode("place")) else { return nil }
            let name: String = try row.decode("name")
            let subject: String = try row.decode("subject")
            let (whose, purpose) =
                switch place {
                case .credential: ("the credential of account '\(name)'", Purpose.credential(subject))
                case .webhookSecret: ("the webhook's address of instance '\(name)'", Purpose.webhook(list: subject))
                case .signingSecret: ("the webhook's signature of instance '\(name)'", Purpose.signature(list: subject))
                case .erasureKey: ("the key of the ledger of erasures", Purpose.erasures)
                }
            return Value(
                place: place, id: try row.decode("id"), name: whose, purpose: purpose, sealed: try row.decode("sealed"))
        }
    }

    /// False when somebody else has replaced the value meanwhile.
    private func replace(_ value: Value, by secret: String) async throws -> Bool {
        let sealed = try vault.seal(secret, for: value.purpose)
        let changed =
            switch value.place {
            case .credential:
                try await pool.execute(
                    """
                    update koppeling.mailchimp_account set credential = \(sealed)::bytea
                    where id = \(value.id)::bigint and credential = \(value.sealed)::bytea
                    """)
            case .webhookSecret:
                try await pool.execute(
                    """
                    update koppeling.connector_instance set webhook_secret = \(sealed)::bytea
                    where id = \(value.id)::bigint and webhook_secret = \(value.sealed)::bytea
                    """)
            case .signingSecret:
                try await pool.execute(
                    """
                    update koppeling.connector_instance set webhook_signing_secret = \(sealed)::bytea
                    where id = \(value.id)::bigint and webhook_signing_secret = \(value.sealed)::bytea
                    """)
            case .erasureKey:
                try await pool.execute(
                    """
                    update koppeling.erasure_key set sealed = \(sealed)::bytea where sealed = \(value.sealed)::bytea
                    """)
            }
        return changed == 1
    }
}

/// What a secret is sealed for: it opens nothing else, wherever in the database it is put.
enum Purpose {
    /// Of a login, as data centre, colon, number.
    static func credential(_ login: String) -> String { "mailchimp-account:\(login)" }

    static func webhook(list: String) -> String { "webhook-secret:\(list)" }

    static let erasures = "erasure-key"

    static func signature(list: String) -> String { "webhook-signature:\(list)" }
}
