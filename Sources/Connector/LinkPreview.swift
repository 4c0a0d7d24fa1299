import JobQueue
import Mailchimp
import Postgres

extension Instances {
    /// What linking a list would make.
    public struct LinkPreview: Sendable, Codable {
        /// Mailchimp's id of the list.
        public var listID: String
        /// Its name of now.
        public var listName: String
        /// The instance's name.
        public var name: String
        /// The target group that would be made.
        public var targetGroup: String
        /// Which of a person's addresses is written to.
        public var emailKind: String
        /// How many persons have an address of that kind.
        public var persons: Int64
        /// How many contacts the list has, by status.
        public var contacts: [String: Int64]
        /// The merge fields that persons' names would fill.
        public var mapped: [String]
        /// Those that the names would fill, and the list lacks or keeps no text in.
        public var missing: [String]
        /// Those that the list requires and nothing would fill.
        public var required: [String]
        /// Addresses that said no elsewhere and would be barred from the list.
        public var noes: Int64

        private enum CodingKeys: String, CodingKey {
            case name, persons, contacts, mapped, missing, required, noes
            case listID = "list_id"
            case listName = "list_name"
            case targetGroup = "target_group"
            case emailKind = "email_kind"
        }
    }

    /// Says what linking would make, and writes nothing, here or in Mailchimp.
    ///
    /// - Parameters:
    ///   - account: whose list it is.
    ///   - list: the list's id or its exact name; nil takes the account's only list.
    ///   - name: the instance's name; nil takes the list's name of now.
    ///   - emailKind: which of a person's addresses would be written to.
    ///   - carriesNoes: whether who said no to another list of the account is to be barred from this one too.
    /// - Returns: what would be made.
    /// - Throws: ``ConnectorError`` when linking would be refused.
    public func previewLink(
        account: Accounts.Account, list: String?, name: String?, emailKind: String = "zakelijk",
        carriesNoes: Bool = true
    ) async throws -> LinkPreview {
        let (emailKind, persons) = try await knownKind(emailKind)
        let chosen = try await choose(list, of: account)
        let title = try Self.title(name, of: chosen)
        try await pool.withConnection { try await refuseDouble(list: chosen, title: title, on: $0) }
        let (client, resource) = try await accounts.client(account: account.id)
        let (contacts, fields) = try await withPermits { permits in
            var contacts: [String: Int64] = [:]
            let statuses: [MemberStatus] = [
                .subscribed, .unsubscribed, .cleaned, .pending, .transactional, .archived,
            ]
            for status in statuses {
                contacts[status.rawValue] = try await permits.withPermit(resource, holder: "preview") {
                    try await client.memberCount(chosen.id, status: status)
                }
            }
            let fields = try await permits.withPermit(resource, holder: "preview") {
                try await client.mergeFields(chosen.id)
            }
            return (contacts, fields)
        }
        let mapped = fields.filter { MergeFields.names[$0.tag] != nil && $0.type == "text" }.map(\.tag)
        let noes: Int64 = try await pool.query(
            """
            select koppeling.count_noes_to_carry(\(account.id)::bigint, \(chosen.id)::text, \(carriesNoes)::boolean)
            """
        ).scalar()
        return LinkPreview(
            listID: chosen.id, listName: chosen.name, name: title, targetGroup: "Mailchimp - \(title)",
            emailKind: emailKind, persons: persons, contacts: contacts, mapped: mapped.sorted(),
            missing: MergeFields.names.keys.filter { !mapped.contains($0) }.sorted(),
            required: fields.filter { $0.isRequired && !mapped.contains($0.tag) }.map(\.tag).sorted(), noes: noes)
    }
}
