import FoundationEssentials
public import HTTPClient
import Mailchimp
public import Postgres

/// The Mailchimp accounts that this deployment is connected with.
public struct Accounts: Sendable {
    /// An account as a person sees it: no secret in it.
    public struct Account: Sendable, Codable {
        /// Its number here.
        public var id: Int64
        /// Its name at Mailchimp, or the one given when it was connected.
        public var name: String
        /// The data centre, such as `us12`.
        public var dataCentre: String
        /// Whether Mailchimp accepted the credential when it was last used.
        public var authenticated: Bool
    }

    let pool: Pool
    let vault: Vault
    private let http: HTTPClient
    private let rootOverride: String?
    /// Which deployment this is.
    public let deployment: Deployment

    /// The accounts of a database; `rootOverride` is the API root of all of them instead of the real one, for a test.
    public init(
        pool: Pool, vault: Vault, http: HTTPClient, rootOverride: String?,
        environment: Deployment.Environment = .production
    ) {
        deployment = Deployment(pool: pool, vault: vault, environment: environment)
        self.pool = pool
        self.vault = vault
        self.http = http
        self.rootOverride = rootOverride
    }

    /// The connected accounts, by name; at most a thousand.
    public func list() async throws -> [Account] {
        let rows = try await pool.query(
            """
            select id, name, data_centre, authenticated from koppeling.mailchimp_account order by name limit 1000
            """)
        return try rows.map(Self.account)
    }

    /// The account of that name or number.
    ///
    /// - Throws: ``ConnectorError`` when there is none.
    public func find(_ name: String) async throws -> Account {
        let rows = try await pool.query(
            """
            select id, name, data_centre, authenticated from koppeling.mailchimp_account
            where name = \(name)::text or id::text = \(name)::text
            order by name = \(name)::text desc
            limit 1
            """)
        guard let row = rows.first else {
            throw ConnectorError(.notFound, "there is no account '\(name)': `koppeling account list` shows them")
        }
        return try Self.account(row)
    }

    func find(id: Int64) async throws -> Account {
        let rows = try await pool.query(
            """
            select id, name, data_centre, authenticated from koppeling.mailchimp_account where id = \(id)::bigint
            """)
        guard let row = rows.first else { throw ConnectorError(.notFound, "there is no account \(id)") }
        return try Self.account(row)
    }

    /// Sets how many calls of the account's login may be under way at once, over all workers and instances.
    ///
    /// - Throws: ``ConnectorError`` when it is not from 1 to 10, which is what Mailchimp allows a login.
    public func setBudget(_ budget: Int, account: Account) async throws {
        guard (1...10).contains(budget) else {
            throw ConnectorError(
                .badSetting,
                "a budget is from 1 to 10: Mailchimp allows 10 calls at once to a login, all its programs together")
        }
        try await pool.query(
            """
            select koppeling.set_permit_budget(a.permit_resource, \(budget)::int)
            from koppeling.mailchimp_account a
            where a.id = \(account.id)::bigint
            """)
    }

    /// Forgets an account and its credential, which stays good at Mailchimp until it is revoked there.
    ///
    /// - Throws: ``ConnectorError`` when an instance uses it.
    public func disconnect(_ account: Account) async throws {
        do throws(PostgresError) {
            try await pool.execute("delete from koppeling.mailchimp_account where id = \(account.id)::bigint")
        } catch {
            guard error.sqlState == "23503" else { throw error }
            throw ConnectorError(
                .wrongState,
                "instances use account '\(account.name)': give each another account with "
                    + "`koppeling instance relink NAME --list LIST --account OTHER`, or delete its group with "
                    + "`koppeling group delete`; to replace only the credential use `koppeling account renew`"
            )
        }
    }

    /// A client that speaks for the account, and the name under which its calls are counted.
    ///
    /// Mailchimp's limit is per user, so the name is the login's, whatever the credential.
    func client(account id: Int64) async throws -> (client: MailchimpClient, permit: String) {
        let rows = try await pool.query(
            """
            select credential, credential_kind, data_centre, login_id, permit_resource
            from koppeling.mailchimp_account
            where id = \(id)::bigint
            """)
        guard let row = rows.first else { throw ConnectorError(.notFound, "there is no account \(id)") }
        let dataCentre: String = try row.decode("data_centre")
        let login: String = try row.decode("login_id")
        let secret = try vault.open(
            try row.decode("credential", as: [UInt8].self), for: Purpose.credential("\(dataCentre):\(login)"))
        let kind = CredentialKind(rawValue: try row.decode("credential_kind")) ?? .key
        return (
            try client(kind.credential(secret, dataCentre: dataCentre)), try row.decode("permit_resource")
        )
    }

    /// A client that speaks with a credential.
    func client(_ credential: Credential) throws(MailchimpError) -> MailchimpClient {
        try MailchimpClient(credential: credential, http: http, rootOverride: rootOverride)
    }

    private static func account(_ row: Row) throws -> Account {
        Account(
            id: try row.decode("id"), name: try row.decode("name"), dataCentre: try row.decode("data_centre"),
            authenticated: try row.decode("authenticated"))
    }
}
