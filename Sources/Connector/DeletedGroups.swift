import Postgres

extension Instances {
    /// What becomes of the contacts of a group that is deleted.
    public enum Contacts: Sendable {
        /// Those that are in the list because of us are archived, by a plan that somebody approves.
        case archive
        /// They stay as they are.
        case leave
    }

    /// How far the deletion of a linked group is.
    public struct GroupDeletion: Sendable, Decodable {
        /// Whether the group and its instance are gone; if not, the contacts are archived first.
        public var isDone: Bool
        /// Contacts that are subscribed in the list because of us.
        public var left: Int64
        /// The plan with their removals; nil when none waits.
        public var plan: Int64?
        /// The plan's version.
        public var version: Int?
        /// How many the plan removes.
        public var leaves: Int64?

        private enum CodingKeys: String, CodingKey {
            case isDone = "is_done"
            case left, plan, version, leaves
        }
    }

    /// Deletes the group of an instance that is off, and the instance with it.
    ///
    /// When its contacts are to be archived that comes first: nobody is wanted any more, and the removals wait in a plan.
    /// Once it was approved and carried out, a second call deletes.
    /// - Parameters:
    ///   - instance: whose group is deleted.
    ///   - contacts: what becomes of the contacts.
    ///   - actor: who deletes, for the audit.
    /// - Returns: how far it is.
    /// - Throws: ``ConnectorError`` when the instance is on; `PostgresError` when Mailchimp was not told yet of an erasure
    ///   or a no, or a contact may have been subscribed over one.
    public func deleteGroup(
        of instance: Instance, contacts: Contacts, actor: String
    ) async throws -> GroupDeletion {
        // Whoever links the list again reads what was said in it: it need not be readable now.
        try await part(from: instance, acceptsUnread: true) { list in
            try await pool.unlimitedTransaction { connection in
                let answer: JSONText = try await connection.query(
                    """
                    select koppeling.delete_linked_group(\(instance.id)::bigint, \(contacts == .archive)::boolean,
                        \(list == .gone)::boolean, \(actor)::text)
                    """
                ).scalar()
                return try answer.decode(GroupDeletion.self)
            }
        }.value
    }
}
