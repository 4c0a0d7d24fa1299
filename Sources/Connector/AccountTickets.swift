import FoundationEssentials
public import Logging
public import Mailchimp
public import Postgres

/// Connecting accounts by OAuth2: from a command to a browser, to Mailchimp, and back.
///
/// The command makes a ticket, the address that it prints opens it, and the first browser that does so is the only one
/// that may go on. Tickets and states are random, of one use, good for ten minutes, and only their hashes are kept.
public struct AccountTickets: Sendable {
    /// What Mailchimp sends a browser back with.
    public struct Answer: Sendable {
        /// The state that the browser was sent with.
        public var state: String
        /// What is changed into a token.
        public var code: String?
        /// Why there is no code.
        public var error: String?

        /// Takes the parameters of the address.
        public init(state: String, code: String?, error: String?) {
            self.state = state
            self.code = code
            self.error = error
        }
    }

    /// A ticket as the browser sees it that opened it.
    public struct Opened: Sendable {
        /// Its number, which is no secret.
        public let id: Int64
        /// The secret by which the browser is known from now on, when this was the first time.
        public let newBrowser: String?
        /// The account whose credential is to be replaced.
        public let renewedAccount: String?
    }

    private let pool: Pool
    private let accounts: Accounts
    private let app: OAuthApp?
    private let logger: Logger

    /// The tickets of a database; without an app they can be made and not used.
    public init(pool: Pool, accounts: Accounts, app: OAuthApp?, logger: Logger) {
        self.pool = pool
        self.accounts = accounts
        self.app = app
        self.logger = logger
    }

    /// Where the pages lead to: the scheme and host of Mailchimp's own.
    public var authorizeOrigin: String? { app?.authorizeOrigin }

    /// Makes a ticket for a new account, or for another credential of one.
    ///
    /// - Returns: its number, and what is put into the address.
    public func make(name: String?, renewing account: Accounts.Account?) async throws -> (id: Int64, ticket: String) {
        let ticket = Vault.makeSecret()
        let rows = try await pool.query(
            """
            with old as (
                delete from koppeling.account_ticket where expires_at < koppeling.now() - interval '1 day'
            )
            insert into koppeling.account_ticket (ticket_hash, account_name, renews)
            values (\(Vault.hash(ticket))::bytea, \(name)::text, \(account?.id)::bigint)
            returning id
            """)
        return (try rows.scalar(), ticket)
    }

    /// Opens a ticket for a browser, which shows the secret it has for the ticket of a number: the first becomes the only
    /// one.
    public func open(_ ticket: String, shown: @Sendable (Int64) -> String?) async throws -> Result<
        Opened, ConnectFailure
    > {
        guard app != nil else { return .failure(ConnectFailure(.notConfigured)) }
        let hash = Vault.hash(ticket)
        guard let id = try await state(ticket: hash)?.id else { return .failure(ConnectFailure(.unknownTicket)) }
        let browser = Vault.makeSecret()
        let bound = try await pool.execute(
            """
            update koppeling.account_ticket set browser_hash = \(Vault.hash(browser))::bytea
            where id = \(id)::bigint and browser_hash is null and finished_at is null
              and expires_at > koppeling.now()
            """)
        guard let state = try await state(ticket: hash) else { return .failure(ConnectFailure(.unknownTicket)) }
        if let failure = state.failure(shown: bound == 1 ? browser : shown(id)) { return .failure(failure) }
        return .success(Opened(id: id, newBrowser: bound == 1 ? browser : nil, renewedAccount: state.renewedAccount))
    }

    /// Sends the browser to Mailchimp with a state of its own; one that was sent before is worth nothing any more.
    ///
    /// - Returns: the address.
    public func begin(_ ticket: String, shown: @Sendable (Int64) -> String?) async throws -> Result<
        String, ConnectFailure
    > {
        guard let app else { return .failure(ConnectFailure(.notConfigured)) }
        guard let ticketState = try await state(ticket: Vault.hash(ticket)) else {
            return .failure(ConnectFailure(.unknownTicket))
        }
        if let failure = ticketState.failure(shown: shown(ticketState.id)) { return .failure(failure) }
        let state = Vault.makeSecret()
        let changed = try await pool.execute(
            """
            update koppeling.account_ticket
            set state_hash = \(Vault.hash(state))::bytea, state_expires_at = koppeling.now() + interval '10 minutes'
            where id = \(ticketState.id)::bigint and finished_at is null
            """)
        guard changed == 1 else { return .failure(ConnectFailure(.used)) }
        return .success(app.authorizeURL(state: state))
    }

    /// Takes what Mailchimp sent the browser back with: changes the code into a token at once and connects the account.
    ///
    /// The state is taken away before anything is looked at, so that whatever comes second finds nothing.
    /// - Returns: the number of the ticket, which knows what came of it.
    public func finish(
        _ answer: Answer, shown: @Sendable (Int64) -> String?
    ) async throws -> Result<Int64, ConnectFailure> {
        guard let ticket = try await take(state: answer.state) else { return .failure(ConnectFailure(.unknownState)) }
        guard let browser = shown(ticket.id), Vault.matches(browser, ticket.browserHash) else {
            // Not an end of the ticket: whoever began may begin again.
            return .failure(ConnectFailure(.wrongBrowser))
        }
        do {
            let account = try await connect(answer, ticket)
            try await end(ticket.id, "connected", account: account.name, id: account.id)
        } catch let failure as ConnectFailure {
            try await end(ticket.id, failure.reason.rawValue, account: failure.account, id: nil)
        }
        return .success(ticket.id)
    }

    /// What came of a ticket, for the browser that opened it.
    public func outcome(_ id: Int64, shown browser: String?) async throws -> Result<Accounts.Account, ConnectFailure> {
        guard let state = try await state(id: id) else { return .failure(ConnectFailure(.unknownTicket)) }
        guard let browser, let hash = state.browserHash, Vault.matches(browser, hash) else {
            return .failure(ConnectFailure(.wrongBrowser))
        }
        return try await outcome(of: state) ?? .failure(ConnectFailure(.unknownState))
    }

    /// Waits until the ticket has led to an end, or can lead to none any more.
    ///
    /// - Throws: ``ConnectorError`` that says what went wrong.
    public func wait(for id: Int64) async throws -> Accounts.Account {
        while true {
            guard let state = try await state(id: id) else { throw ConnectFailure(.expired).error }
            if let outcome = try await outcome(of: state) {
                do {
                    return try outcome.get()
                } catch {
                    throw error.error
                }
            }
            if state.isOver { throw ConnectFailure(.expired).error }
            try await Task.sleep(for: .milliseconds(300))
        }
    }

    // MARK: - The ticket's row

    private struct State {
        let id: Int64
        let browserHash: [UInt8]?
        let renewedAccount: String?
        let outcome: String?
        let detail: String?
        let accountID: Int64?
        /// The time to open it and to press its button has passed.
        let isExpired: Bool
        /// Nothing can come of it any more, not even from a browser that is at Mailchimp now.
        let isOver: Bool

        /// What keeps this browser from going on.
        func failure(shown browser: String?) -> ConnectFailure? {
            if outcome != nil { return ConnectFailure(.used) }
            if isExpired { return ConnectFailure(.expired) }
            guard let browser, let browserHash, Vault.matches(browser, browserHash) else {
                return ConnectFailure(.wrongBrowser)
            }
            return nil
        }
    }

    private func state(ticket hash: [UInt8]) async throws -> State? {
        try await state(where: hash, id: nil)
    }

    private func state(id: Int64) async throws -> State? {
        try await state(where: nil, id: id)
    }

    private func state(where hash: [UInt8]?, id: Int64?) async throws -> State? {
        let rows = try await pool.query(
            """
            select t.id, t.browser_hash, a.name as renewed, t.outcome, t.detail, t.account_id,
                   t.expires_at <= koppeling.now() as expired,
                   greatest(t.expires_at, t.state_expires_at) <= koppeling.now() as over
            from koppeling.account_ticket t
            left join koppeling.mailchimp_account a on a.id = t.renews
            where t.ticket_hash = \(hash)::bytea or t.id = \(id)::bigint
            """)
        guard let row = rows.first else { return nil }
        return State(
            id: try row.decode("id"), browserHash: try row.decode("browser_hash"),
            renewedAccount: try row.decode("renewed"), outcome: try row.decode("outcome"),
            detail: try row.decode("detail"), accountID: try row.decode("account_id"),
            isExpired: try row.decode("expired"), isOver: try row.decode("over"))
    }

    private func outcome(of state: State) async throws -> Result<Accounts.Account, ConnectFailure>? {
        guard let outcome = state.outcome else { return nil }
        if let account = state.accountID { return .success(try await accounts.find(id: account)) }
        return .failure(ConnectFailure(ConnectFailure.Reason(rawValue: outcome) ?? .used, account: state.detail))
    }

    private func end(_ id: Int64, _ outcome: String, account: String?, id accountID: Int64?) async throws {
        try await pool.execute(
            """
            update koppeling.account_ticket
            set outcome = \(outcome)::text, detail = \(account)::text, account_id = \(accountID)::bigint,
                finished_at = koppeling.now(), state_hash = null
            where id = \(id)::bigint and finished_at is null
            """)
        logger.info("a ticket led to an end", metadata: ["ticket": "\(id)", "outcome": "\(outcome)"])
    }

    // MARK: - The way back from Mailchimp

    private struct Taken {
        let id: Int64
        let browserHash: [UInt8]
        let name: String?
        let renews: Int64?
        let isExpired: Bool
    }

    /// Of two that bring the same state one gets the ticket.
    private func take(state: String) async throws -> Taken? {
        let rows = try await pool.query(
            """
            update koppeling.account_ticket set state_hash = null
            where state_hash = \(Vault.hash(state))::bytea
            returning id, browser_hash, account_name, renews, state_expires_at <= koppeling.now() as expired
            """)
        guard let row = rows.first else { return nil }
        return Taken(
            id: try row.decode("id"), browserHash: try row.decode("browser_hash"),
            name: try row.decode("account_name"), renews: try row.decode("renews"),
            isExpired: try row.decode("expired"))
    }

    private func connect(_ answer: Answer, _ ticket: Taken) async throws -> Accounts.Account {
        guard let app else { throw ConnectFailure(.notConfigured) }
        guard !ticket.isExpired else { throw ConnectFailure(.expired) }
        if let error = answer.error { throw ConnectFailure(error == "access_denied" ? .denied : .noCode) }
        guard let code = answer.code, !code.isEmpty else { throw ConnectFailure(.noCode) }
        let proof: Proof
        do {
            let token = try await app.token(code: code)
            let metadata = try await app.metadata(token)
            proof = try await accounts.proof(
                .token, token.text, dataCentre: metadata.dataCentre, login: metadata.loginID)
        } catch let error as MailchimpError {
            logger.warning("an account was not connected", metadata: ["error": "\(error)"])
            throw ConnectFailure(Self.reason(of: error))
        }
        if let account = ticket.renews { return try await accounts.replaceCredential(of: account, by: proof) }
        return try await accounts.store(proof, name: ticket.name)
    }

    private static func reason(of error: MailchimpError) -> ConnectFailure.Reason {
        switch error.code {
        case .invalidGrant: .codeRefused
        case .invalidClient: .appRefused
        case _ where error.advice == .waitForAccount: .badToken
        default: .noAnswer
        }
    }
}
