import FoundationEssentials
import Mailchimp
import Postgres

/// What is sealed: a key that somebody copied from Mailchimp, or a token that Mailchimp handed out.
enum CredentialKind: String, Sendable {
    case key, token

    /// The credential that the secret is.
    func credential(_ secret: String, dataCentre: String) throws(MailchimpError) -> Credential {
        switch self {
        case .key: .apiKey(try APIKey(secret))
        case .token: .accessToken(secret, dataCentre: dataCentre)
        }
    }
}

/// A credential that Mailchimp has accepted, and whose it is.
struct Proof: Sendable {
    let kind: CredentialKind
    let secret: String
    let dataCentre: String
    let accountID: String
    let login: String
    let accountName: String

    var purpose: String { Purpose.credential("\(dataCentre):\(login)") }
}

extension Accounts {
    /// Connects an account by its API key, after asking Mailchimp whose it is.
    ///
    /// - Throws: `MailchimpError` when the key is malformed or Mailchimp cannot be reached; ``ConnectorError`` when the key
    ///   is refused, or the login is connected already.
    public func connect(apiKey: String, name: String?) async throws -> Account {
        do {
            return try await store(try await proof(apiKey: apiKey), name: name)
        } catch let failure as ConnectFailure {
            throw failure.error
        }
    }

    /// Gives an account another API key of the same login.
    ///
    /// - Throws: As ``connect(apiKey:name:)``; ``ConnectorError`` also when the key belongs to another login.
    public func renew(_ account: Account, apiKey: String) async throws -> Account {
        do {
            return try await replaceCredential(of: account.id, by: try await proof(apiKey: apiKey))
        } catch let failure as ConnectFailure {
            throw failure.error
        }
    }

    private func proof(apiKey: String) async throws -> Proof {
        let key = try APIKey(apiKey)
        do {
            return try await proof(.key, apiKey, dataCentre: key.dataCentre)
        } catch let error as MailchimpError where error.advice == .waitForAccount {
            throw ConnectFailure(.keyRefused)
        }
    }

    /// Asks Mailchimp whose a credential is.
    func proof(_ kind: CredentialKind, _ secret: String, dataCentre: String, login: String? = nil) async throws -> Proof
    {
        let root = try await client(kind.credential(secret, dataCentre: dataCentre)).root()
        guard let login = root.loginID ?? login else {
            throw ConnectorError(
                .refused, "Mailchimp did not say which login the credential belongs to: try again later")
        }
        return Proof(
            kind: kind, secret: secret, dataCentre: dataCentre, accountID: root.accountID, login: login,
            accountName: root.accountName.isEmpty ? login : root.accountName)
    }

    /// Stores a new account.
    ///
    /// - Throws: ``ConnectFailure`` when the login is connected already, or the name taken.
    func store(_ proof: Proof, name: String?) async throws -> Account {
        let sealed = try vault.seal(proof.secret, for: proof.purpose)
        let name = name ?? proof.accountName
        let rows: Rows
        do throws(PostgresError) {
            rows = try await pool.query(
                """
                insert into koppeling.mailchimp_account
                    (name, credential, credential_kind, data_centre, account_id, login_id)
                values (\(name)::text, \(sealed)::bytea, \(proof.kind.rawValue)::text, \(proof.dataCentre)::text,
                        \(proof.accountID)::text, \(proof.login)::text)
                on conflict (data_centre, login_id) do nothing
                returning id
                """)
        } catch {
            guard error.constraint == "mailchimp_account_name_key" else { throw error }
            throw ConnectFailure(.nameTaken, account: name)
        }
        guard let row = rows.first else {
            throw ConnectFailure(.alreadyConnected, account: try await self.name(of: proof))
        }
        return try await find(id: try row.decode("id"))
    }

    /// Replaces a credential by another of the same login; whatever waited for it goes on.
    ///
    /// - Throws: ``ConnectFailure`` when it belongs to another login.
    func replaceCredential(of id: Int64, by proof: Proof) async throws -> Account {
        let sealed = try vault.seal(proof.secret, for: proof.purpose)
        let isSameLogin = try await pool.transaction { connection in
            let changed = try await connection.execute(
                """
                update koppeling.mailchimp_account
                set credential = \(sealed)::bytea, credential_kind = \(proof.kind.rawValue)::text,
                    account_id = \(proof.accountID)::text, authenticated = true, renewed_at = koppeling.now()
                where id = \(id)::bigint and data_centre = \(proof.dataCentre)::text
                  and login_id = \(proof.login)::text
                """)
            try await connection.execute(
                """
                update koppeling.task t set done_at = koppeling.now()
                from koppeling.connector_instance i
                where i.account_id = \(id)::bigint and t.instance_id = i.id and t.kind = 'credentialRevoked'
                  and t.done_at is null and \(changed == 1)::boolean
                """)
            return changed == 1
        }
        let account = try await find(id: id)
        guard isSameLogin else { throw ConnectFailure(.otherLogin, account: account.name) }
        return account
    }

    private func name(of proof: Proof) async throws -> String? {
        let rows = try await pool.query(
            """
            select name from koppeling.mailchimp_account
            where data_centre = \(proof.dataCentre)::text and login_id = \(proof.login)::text
            """)
        return try rows.first?.decode("name")
    }
}
