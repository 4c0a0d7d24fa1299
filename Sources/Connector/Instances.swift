import FoundationEssentials
public import Mailchimp
public import Postgres

/// The instances: each links one Mailchimp list to the target group that was made for it.
public struct Instances: Sendable {
    /// An instance as a person sees it.
    public struct Instance: Sendable, Codable {
        /// Its number, which is also part of its queue's name.
        public var id: Int64
        /// The name it was given.
        public var name: String
        /// The account it belongs to.
        public var account: String
        /// Mailchimp's id of the list.
        public var listID: String
        /// The target group that was made with it.
        public var targetGroup: String
        /// Whether Mailchimp accepts the account's credential.
        public var authenticated: Bool
        /// Whether it works.
        public var enabled: Bool
        /// Why it stopped creating and updating by itself, when it did.
        public var pausedReason: String?
    }

    let pool: Pool
    let accounts: Accounts
    let vault: Vault

    /// The instances of a database.
    public init(pool: Pool, accounts: Accounts, vault: Vault) {
        self.pool = pool
        self.accounts = accounts
        self.vault = vault
    }

    /// The lists of an account that can be linked; at most a thousand.
    public func lists(account: Accounts.Account) async throws -> [MailingList] {
        let (client, _) = try await accounts.client(account: account.id)
        return try await client.lists(offset: 0, count: 1000).lists
    }

    /// Links a list: makes the instance, its target group "Mailchimp - NAME" and the three action templates.
    ///
    /// The instance starts disabled; its first change plan is always held.
    /// - Parameters:
    ///   - account: whose list it is.
    ///   - list: the list's id or its exact name; nil takes the account's only list.
    ///   - name: the instance's name; nil takes the list's name of now. Later renames of the list change nothing.
    ///   - emailKind: which of a person's addresses is mailed, such as `zakelijk`.
    ///   - makesFields: whether FNAME and LNAME are made where the list has no such merge fields.
    ///   - carriesNoes: whether who said no to another list of the account is barred from this one too.
    ///   - actor: who links, for the audit.
    /// - Returns: the instance.
    /// - Throws: ``ConnectorError`` when there is no such list or it is linked already.
    public func link(
        account: Accounts.Account, list: String?, name: String?, emailKind: String, makesFields: Bool = false,
        carriesNoes: Bool = true, actor: String
    ) async throws -> Instance {
        let emailKind = try await knownKind(emailKind).kind
        let chosen = try await choose(list, of: account)
        let (client, _) = try await accounts.client(account: account.id)
        let fields = try await MergeFields.read(client, chosen.id, making: makesFields ? MergeFields.names : [:])
        try await accounts.deployment.requireConfirmed()
        let secret = Vault.makeSecret()
        let sealed = try vault.seal(secret, for: Purpose.webhook(list: chosen.id))
        let title = try Self.title(name, of: chosen)
        let id = try await pool.unlimitedTransaction { connection in
            try await self.refuseDouble(list: chosen, title: title, on: connection)
            let id = try await Self.insert(
                account: account, list: chosen, title: title, fields: fields, emailKind: emailKind,
                secretHash: Vault.hash(secret), sealedSecret: sealed, actor: actor, on: connection)
            try await connection.query(
                """
                select koppeling.begin_consent(i.target_group_id, i.account_id, i.list_id, \(carriesNoes)::boolean,
                    \(actor)::text)
                from koppeling.connector_instance i
                where i.id = \(id)::bigint
                """)
            return id
        }
        return try await find(String(id))
    }

    /// The kind of address as it is stored, and how many persons have one; what must be a typo is refused.
    func knownKind(_ given: String) async throws -> (kind: String, persons: Int64) {
        let row = try await pool.query(
            """
            select k.kind, count(e.id) as persons,
                   case when count(e.id) = 0 then array(
                       select e.kind from koppeling.email_address e group by e.kind order by e.kind limit 20) end as others
            from (select coalesce(koppeling.fold(koppeling.clean_text(\(given)::text)), '') as kind) k
            left join koppeling.email_address e on e.kind = k.kind
            group by k.kind
            """)[0]
        let kind: String = try row.decode("kind")
        let others = try row.decode("others", as: [String]?.self) ?? []
        guard !kind.isEmpty, others.isEmpty else {
            throw ConnectorError(
                .notFound,
                kind.isEmpty
                    ? "name the kind of the e-mail addresses that are written to"
                    : "nobody has an e-mail address of the kind \"\(kind)\": there are \(others.joined(separator: ", "))"
            )
        }
        return (kind, try row.decode("persons"))
    }

    /// The name of a link: the one that is given, or the list's of now.
    static func title(_ name: String?, of list: MailingList) throws(ConnectorError) -> String {
        let title = (name ?? list.name).split(whereSeparator: \.isWhitespace).joined(separator: " ")
        guard (1...188).contains(title.count) else {
            throw ConnectorError(.wrongState, "give the link a name of 1 to 188 characters, with --name")
        }
        return title
    }

    /// The list of this id or exact name, or the only one.
    func choose(_ list: String?, of account: Accounts.Account) async throws -> MailingList {
        let candidates = try await lists(account: account)
        guard !candidates.isEmpty else {
            throw ConnectorError(
                .noList, "account '\(account.name)' has no list (audience): make one in Mailchimp first, then link it")
        }
        let matching = candidates.filter { list == nil || $0.id == list || $0.name == list }
        guard let chosen = matching.first, matching.count == 1 else {
            let known = candidates.prefix(10).map { "'\($0.name)' (\($0.id))" }.joined(separator: ", ")
            let problem =
                list.map { "account '\(account.name)' has no list '\($0)'" } ?? "the account has several lists"
            throw ConnectorError(.noList, "\(problem): name one with --list, of \(known)")
        }
        return chosen
    }

    private static func insert(
        account: Accounts.Account, list: MailingList, title: String, fields: JSONText, emailKind: String,
        secretHash: [UInt8], sealedSecret: [UInt8], actor: String, on connection: Connection
    ) async throws -> Int64 {
        let rows = try await connection.query(
            """
            with made as (
                insert into koppeling.target_group (name, email_kind, linked)
                values ('Mailchimp - ' || \(title)::text, \(emailKind)::text, true)
                returning id
            )
            insert into koppeling.connector_instance
                (account_id, name, list_id, list_name, target_group_id, webhook_secret_hash, webhook_secret, dry_run)
            select \(account.id)::bigint, \(title)::text, \(list.id)::text, \(list.name)::text, made.id,
                   \(secretHash)::bytea, \(sealedSecret)::bytea,
                   exists (select from koppeling.deployment d where d.environment = 'training')
            from made
            returning id, target_group_id
            """)
        guard let row = rows.first else { throw ConnectorError(.wrongState, "the instance was not stored: try again") }
        let id: Int64 = try row.decode("id")
        try await connection.execute(
            """
            insert into koppeling.action_template (instance_id, action)
            select \(id)::bigint, unnest(array['create', 'update', 'delete'])
            """)
        try await connection.query("select koppeling.observe_fields(\(id)::bigint, \(fields)::jsonb)")
        try await connection.query("select koppeling.map_by_default(\(id)::bigint)")
        try await connection.execute(
            """
            insert into koppeling.audit_entry (target_group_id, kind, new, actor, cause)
            values (\(try row.decode("target_group_id", as: Int64.self))::bigint, 'instance.linked',
                    jsonb_build_object('instance', \(id)::bigint, 'list', \(list.id)::text), \(actor)::text, 'linking')
            """)
        return id
    }

    /// Throws when an instance has this list, or another one this name, and names it.
    func refuseDouble(list: MailingList, title: String, on connection: Connection) async throws {
        let rows = try await connection.query(
            """
            select name, list_id = \(list.id)::text as same_list
            from koppeling.connector_instance
            where list_id = \(list.id)::text or name = \(title)::text
            order by same_list desc
            limit 1
            """)
        guard let row = rows.first else { return }
        let other: String = try row.decode("name")
        if try row.decode("same_list", as: Bool.self) {
            throw ConnectorError(.alreadyLinked, "list '\(list.name)' is linked already, by instance '\(other)'")
        }
        throw ConnectorError(.alreadyLinked, "there is an instance '\(other)' already: give this one another --name")
    }

    /// Turns an instance on or off.
    ///
    /// Turned on, it reads the list before it sends anything.
    ///
    /// - Throws: ``ConnectorError`` when there is no such instance.
    public func setEnabled(_ enabled: Bool, instance name: String, actor: String? = nil) async throws {
        let instance = try await find(name)
        if enabled { try await accounts.deployment.requireConfirmed() }
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.note_enabled(\(instance.id)::bigint, \(enabled)::boolean, \(actor)::text)")
            try await connection.execute(
                """
                update koppeling.connector_instance
                set enabled = \(enabled)::boolean,
                    paused_reason = case when \(enabled)::boolean then null else paused_reason end
                where id = \(instance.id)::bigint
                """)
            if enabled {
                try await connection.query(
                    "select koppeling.request_pull(\(instance.id)::bigint, false, koppeling.now())")
                // What was put off because it was off need not wait for its minute to be over.
                try await connection.execute(
                    """
                    update koppeling.job set run_at = koppeling.now()
                    where queue = koppeling.instance_queue(\(instance.id)::bigint) and kind = 'action'
                      and state in ('ready', 'returned') and run_at > koppeling.now()
                      and run_at <= koppeling.now() + interval '1 minute'
                    """)
                // Whoever turns it on has looked at why it paused.
                try await connection.execute(
                    """
                    update koppeling.task set done_at = koppeling.now()
                    where instance_id = \(instance.id)::bigint and kind in ('rejections', 'listGone') and done_at is null
                    """)
            }
        }
    }

    /// Asks for a pull now.
    public func requestPull(instance name: String, full: Bool) async throws {
        let instance = try await find(name)
        try await pool.query(
            "select koppeling.request_pull(\(instance.id)::bigint, \(full)::boolean, koppeling.now())")
    }

    /// Lets the actions of one template run by themselves, or wait until somebody runs them.
    ///
    /// Actions that wait already keep the mode they were staged with. A template that was removed is there again.
    public func setAutomatic(
        _ automatic: Bool, template: String, instance name: String, actor: String? = nil
    ) async throws {
        try await setTemplate(template, to: automatic ? "automatic" : "manual", instance: name, actor: actor)
    }

    /// Removes a template, which the database refuses while the instance is on.
    public func removeTemplate(_ template: String, instance name: String, actor: String? = nil) async throws {
        try await setTemplate(template, to: nil, instance: name, actor: actor)
    }

    private func setTemplate(_ template: String, to mode: String?, instance name: String, actor: String?) async throws {
        let instance = try await find(name)
        guard ["create", "update", "delete"].contains(template) else { throw Self.noTemplate(template) }
        let found: Bool = try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.set_template(\(instance.id)::bigint, \(template)::text, \(mode)::text, \(actor)::text)
                """
            ).scalar()
        }
        guard found else { throw Self.noTemplate(template) }
    }

    private static func noTemplate(_ name: String) -> ConnectorError {
        ConnectorError(.notFound, "'\(name)' is no template of the instance: they are create, update and delete")
    }

    /// The instances, by name; at most a thousand.
    public func list() async throws -> [Instance] {
        try await select(name: nil)
    }

    /// The instance of that name or number.
    ///
    /// - Throws: ``ConnectorError`` when there is none.
    public func find(_ name: String) async throws -> Instance {
        guard let found = try await select(name: name).first else {
            throw ConnectorError(.notFound, "there is no instance '\(name)': `koppeling instance list` shows them")
        }
        return found
    }

    /// The instance that links a group; nil when none does.
    public func find(group: Int64) async throws -> Instance? {
        let rows = try await pool.query(
            "select name from koppeling.connector_instance where target_group_id = \(group)::bigint")
        guard let row = rows.first else { return nil }
        return try await find(row.decode("name", as: String.self))
    }

    private func select(name: String?) async throws -> [Instance] {
        let rows = try await pool.query(
            """
            select i.id, i.name, a.name as account, i.list_id, g.name as target_group, a.authenticated, i.enabled,
                   i.paused_reason
            from koppeling.connector_instance i
            join koppeling.mailchimp_account a on a.id = i.account_id
            join koppeling.target_group g on g.id = i.target_group_id
            where \(name)::text is null or i.name = \(name)::text or i.id::text = \(name)::text
            order by i.name = \(name)::text desc, i.name
            limit 1000
            """)
        return try rows.map { row in
            Instance(
                id: try row.decode("id"), name: try row.decode("name"), account: try row.decode("account"),
                listID: try row.decode("list_id"), targetGroup: try row.decode("target_group"),
                authenticated: try row.decode("authenticated"), enabled: try row.decode("enabled"),
                pausedReason: try row.decode("paused_reason"))
        }
    }
}
