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

    private let pool: Pool
    private let vault: Vault
    private let http: HTTPClient
    private let rootOverride: String?

    /// The accounts of a database; `rootOverride` is the API root of all of them instead of the real one, for a test.
    public init(pool: Pool, vault: Vault, http: HTTPClient, rootOverride: String?) {
        self.pool = pool
        self.vault = vault
        self.http = http
        self.rootOverride = rootOverride
    }

    /// Connects an account by its API key, after asking Mailchimp whose it is.
    ///
    /// The same login again takes the new key.
    ///
    /// - Throws: `MailchimpError` when the key is malformed or Mailchimp cannot be reached; ``ConnectorError`` when the key
    ///   is refused.
    public func connect(apiKey: String, name: String?) async throws -> Account {
        let key = try APIKey(apiKey)
        let client = try MailchimpClient(credential: .apiKey(key), http: http, rootOverride: rootOverride)
        let root = try await Self.owner(of: client)
        guard let login = root.loginID else {
            throw ConnectorError(.refused, "Mailchimp did not say which login the key belongs to: try again later")
        }
        let purpose = Self.purpose(dataCentre: key.dataCentre, login: login)
        let sealed = try vault.seal(apiKey, for: purpose)
        let rows = try await pool.query(
            """
            insert into koppeling.mailchimp_account as a (name, credential, data_centre, account_id, login_id)
            values (\(name ?? root.accountName)::text, \(sealed)::bytea, \(key.dataCentre)::text,
                    \(root.accountID)::text, \(login)::text)
            on conflict (data_centre, login_id) do update
                set credential = excluded.credential, authenticated = true,
                    name = case when \(name != nil)::boolean then excluded.name else a.name end
            returning id, name, data_centre, authenticated
            """)
        guard let row = rows.first else { throw ConnectorError(.notFound, "the account was not stored: try again") }
        return try Self.account(row)
    }

    /// Asks whose key it is.
    private static func owner(of client: MailchimpClient) async throws -> Mailchimp.Account {
        do {
            return try await client.root()
        } catch let error where error.advice == .waitForAccount {
            throw ConnectorError(
                .refused,
                "Mailchimp does not accept this key: make a new one there, under Account, Extras, API keys")
        }
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

    /// A client that speaks for the account, and the name under which its calls are counted.
    ///
    /// Mailchimp's limit is per user, so the name is the login's, whatever the key.
    func client(account id: Int64) async throws -> (client: MailchimpClient, permit: String) {
        let rows = try await pool.query(
            """
            select credential, data_centre, login_id from koppeling.mailchimp_account where id = \(id)::bigint
            """)
        guard let row = rows.first else { throw ConnectorError(.notFound, "there is no account \(id)") }
        let dataCentre: String = try row.decode("data_centre")
        let login: String = try row.decode("login_id")
        let key = try vault.open(
            try row.decode("credential", as: [UInt8].self), for: Self.purpose(dataCentre: dataCentre, login: login))
        let client = try MailchimpClient(credential: .apiKey(try APIKey(key)), http: http, rootOverride: rootOverride)
        return (client, "mailchimp:\(dataCentre):\(login)")
    }

    /// Opens the secret part of an instance's webhook address.
    func openWebhookSecret(_ sealed: [UInt8], list: String) throws(ConnectorError) -> String {
        try vault.open(sealed, for: Instances.purpose(list: list))
    }

    private static func purpose(dataCentre: String, login: String) -> String {
        "mailchimp-account:\(dataCentre):\(login)"
    }

    private static func account(_ row: Row) throws -> Account {
        Account(
            id: try row.decode("id"), name: try row.decode("name"), dataCentre: try row.decode("data_centre"),
            authenticated: try row.decode("authenticated"))
    }
}
