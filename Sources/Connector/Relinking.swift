import Mailchimp
import Postgres

extension Instances {
    /// What became of an instance that got another list.
    public struct Relinked: Sendable, Codable {
        /// The instance, with its new number.
        public var instance: Instance
        /// How the old list was found.
        public var oldList: OldList
        /// Contacts that are subscribed in the old list because of us, and stay there.
        public var left: Int64
        /// Addresses that are barred from the new list because of what was said in the old one.
        public var noes: Int64
        /// The plan with those who would be created in the new list; nil when nobody would.
        public var plan: Int64?
        /// The plan's version.
        public var version: Int?
        /// How many would be created.
        public var joins: Int64?
    }

    private struct Answer: Decodable {
        var left: Int64
        var noes: Int64
        var plan: Int64?
        var version: Int?
        var joins: Int64?
    }

    /// Gives an instance that is off another list; its group keeps its rules, members and decisions.
    ///
    /// Nothing is known of the new list: it is read when the instance is turned on, and its first plan is held. Whoever said
    /// no to the old list is barred from the new one.
    /// - Parameters:
    ///   - name: the instance's name or number.
    ///   - account: whose list it is; nil is the account of now.
    ///   - list: the new list's id or exact name.
    ///   - makesFields: whether FNAME and LNAME are made where the list has no such merge fields.
    ///   - acceptsUnread: whether to go on when the old list is there and cannot be read.
    ///   - actor: who relinks, for the audit.
    /// - Returns: what became of it.
    /// - Throws: ``ConnectorError`` when the instance is on, there is no such list, or an instance has it; `PostgresError`
    ///   when Mailchimp was not told yet of an erasure or a no, or a contact may have been subscribed over one.
    public func relink(
        instance name: String, account: Accounts.Account? = nil, list: String, makesFields: Bool = false,
        acceptsUnread: Bool = false, actor: String
    ) async throws -> Relinked {
        let instance = try await find(name)
        let owner = if let account { account } else { try await accounts.find(instance.account) }
        let chosen = try await choose(list, of: owner)
        try await pool.withConnection { try await refuseTaken(chosen, instance, on: $0) }
        let (answer, old) = try await part(from: instance, acceptsUnread: acceptsUnread) { old in
            try await relink(
                instance, to: chosen, of: owner, makesFields: makesFields, listIsGone: old == .gone, actor: actor)
        }
        return Relinked(
            instance: try await find(instance.name), oldList: old, left: answer.left, noes: answer.noes,
            plan: answer.plan, version: answer.version, joins: answer.joins)
    }

    private func relink(
        _ instance: Instance, to list: MailingList, of owner: Accounts.Account, makesFields: Bool, listIsGone: Bool,
        actor: String
    ) async throws -> Answer {
        let (client, _) = try await accounts.client(account: owner.id)
        let fields = try await MergeFields.read(client, list.id, making: makesFields ? MergeFields.names : [:])
        let secret = Vault.makeSecret()
        let sealed = try vault.seal(secret, for: Purpose.webhook(list: list.id))
        return try await pool.unlimitedTransaction { connection in
            try await refuseTaken(list, instance, on: connection)
            let answer: JSONText = try await connection.query(
                """
                select koppeling.relink_instance(\(instance.id)::bigint, \(owner.id)::bigint, \(list.id)::text,
                    \(list.name)::text, \(fields)::jsonb, \(Vault.hash(secret))::bytea, \(sealed)::bytea,
                    \(listIsGone)::boolean, \(actor)::text)
                """
            ).scalar()
            return try answer.decode()
        }
    }

    private func refuseTaken(_ list: MailingList, _ instance: Instance, on connection: Connection) async throws {
        guard list.id != instance.listID else {
            throw ConnectorError(
                .alreadyLinked, "list '\(list.name)' is the list of instance '\(instance.name)' already: name another")
        }
        // Its own name is no other's.
        try await refuseDouble(list: list, title: "", on: connection)
    }
}
