import Crypto
public import FoundationEssentials
public import Postgres

/// What the bearer of a token may do over HTTP.
public enum TokenRight: String, Sendable, Hashable, Codable, CaseIterable {
    /// Put jobs into the queue.
    case enqueue
    /// See jobs with their args, and how the queue stands.
    case read
    /// Change what others enqueued: cancel, retry, pause, limit, schedule.
    case operate
    /// Put persons and companies, and change, merge, unsubscribe, invite and erase persons.
    case persons
    /// See everything that is held on a person; what names persons elsewhere needs it as well.
    case disclose
    /// See and change target groups, their rules, and what was decided by hand.
    case groups
    /// See and steer the link: plans, actions, tasks, instances, merge fields.
    case link
}

/// A token that another system was given, without the token itself.
public struct APIToken: Sendable, Hashable, Codable {
    /// Its name, unique among those that were not revoked.
    public var name: String
    /// What its bearer may do.
    public var rights: Set<TokenRight>
    /// When it was made.
    public var createdAt: Date
    /// When it was last shown, to the minute.
    public var lastUsedAt: Date?
    /// When it was revoked.
    public var revokedAt: Date?
}

/// The bearer tokens of the HTTP API: made, listed, revoked, recognised.
public struct APITokens: Sendable {
    private let pool: Pool

    /// The tokens in this database.
    public init(pool: Pool) {
        self.pool = pool
    }

    /// Makes a token and returns it; only its hash is kept, so it cannot be shown again.
    public func create(name: String, rights: Set<TokenRight> = [.enqueue]) async throws -> String {
        guard !name.isEmpty else { throw ServiceCenterError(.usage, "A token needs a name that says who it is for.") }
        guard !rights.isEmpty else { throw ServiceCenterError(.usage, "A token without any right is of no use.") }
        var random = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        let token = "koppeling_" + Self.urlSafe(bytes)
        do throws(PostgresError) {
            try await pool.execute(
                """
                insert into koppeling.api_token (name, rights, token_hash)
                values (\(name), \(rights.map(\.rawValue).sorted()), \(Self.hash(of: token)))
                """)
        } catch {
            guard error.constraint == "api_token_name" else { throw error }
            throw ServiceCenterError(
                .tokenExists, "There is a token \(name) already: revoke it first, or take another name.")
        }
        return token
    }

    /// The newest tokens first, at most this many.
    public func list(limit: Int = 1_000) async throws -> [APIToken] {
        let rows = try await pool.query(
            """
            select name, rights, created_at, last_used_at, revoked_at
            from koppeling.api_token
            order by id desc
            limit \(limit)
            """)
        return try rows.map { row in
            APIToken(
                name: try row.decode("name"), rights: Self.rights(try row.decode("rights")),
                createdAt: try row.decode("created_at"), lastUsedAt: try row.decode("last_used_at"),
                revokedAt: try row.decode("revoked_at"))
        }
    }

    /// Makes the token of this name worthless at once.
    public func revoke(name: String) async throws {
        let revoked = try await pool.execute(
            """
            update koppeling.api_token set revoked_at = koppeling.now() where name = \(name) and revoked_at is null
            """)
        guard revoked > 0 else {
            throw ServiceCenterError(.noSuchToken, "There is no token \(name): koppeling token list shows them.")
        }
    }

    /// The number and the rights of a token that was made here and not revoked, else nil.
    ///
    /// What is looked up is a hash, so how long it takes tells nothing about the token.
    func find(_ token: String) async throws -> (id: Int64, rights: Set<TokenRight>)? {
        let rows = try await pool.query("select id, rights from koppeling.present_token(\(Self.hash(of: token)))")
        guard let row = rows.first else { return nil }
        return (try row.decode("id"), Self.rights(try row.decode("rights")))
    }

    /// The name that a token was given.
    func name(of id: Int64) async throws -> String {
        try await pool.query("select name from koppeling.api_token where id = \(id)").scalar()
    }

    private static func rights(_ names: [String]) -> Set<TokenRight> {
        Set(names.compactMap(TokenRight.init(rawValue:)))
    }

    private static func hash(of token: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(token.utf8)))
    }

    private static func urlSafe(_ bytes: [UInt8]) -> String {
        String(
            Data(bytes).base64EncodedString().compactMap { character in
                switch character {
                case "+": "-"
                case "/": "_"
                case "=": nil
                default: character
                }
            })
    }
}
