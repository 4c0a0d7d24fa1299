extension MailchimpClient {
    /// Reads a member; nil when Mailchimp says, in so many words, that there is none.
    public func member(_ list: String, _ member: MemberReference) async throws(MailchimpError) -> Member? {
        do {
            // As a member that must be there: read as one that may be missing, a body of `null` would say "absent".
            return try await decoded(
                .get("lists", list, "members", member.pathPart, query: [("exclude_fields", "_links")]), as: Member.self)
        } catch  where error.code == .notFound {
            return nil
        }
    }

    /// Adds a contact that is absent or archived; one that is in the list is refused as `memberExists`.
    public func create(
        _ list: String, _ member: NewMember, skipMergeValidation: Bool = false
    ) async throws(MailchimpError) -> Member {
        let query = Self.validation(skipMergeValidation)
        return try await decoded(.write("POST", "lists", list, "members", query: query, json: member))
    }

    /// Adds a contact, or changes the one that is there.
    ///
    /// When nobody has the referenced hash, Mailchimp makes a member of the body's address instead.
    public func upsert(
        _ list: String, _ member: MemberReference, _ change: MemberUpsert, skipMergeValidation: Bool = false
    ) async throws(MailchimpError) -> Member {
        let query = Self.validation(skipMergeValidation)
        return try await decoded(.write("PUT", "lists", list, "members", member.pathPart, query: query, json: change))
    }

    /// Changes a member, and only one that exists.
    public func update(
        _ list: String, _ member: MemberReference, _ patch: MemberPatch, skipMergeValidation: Bool = false
    ) async throws(MailchimpError) -> Member {
        let query = Self.validation(skipMergeValidation)
        return try await decoded(.write("PATCH", "lists", list, "members", member.pathPart, query: query, json: patch))
    }

    /// Archives a member; one that is cleaned, pending or archived is refused as `methodNotAllowed`.
    public func archive(_ list: String, _ member: MemberReference) async throws(MailchimpError) {
        try await perform(Call(method: "DELETE", path: ["lists", list, "members", member.pathPart]))
    }

    /// Erases a contact from a list for good: no program can bring it back.
    public func deletePermanently(_ list: String, hash: String) async throws(MailchimpError) {
        let path = ["lists", list, "members", hash, "actions", "delete-permanent"]
        try await perform(Call(method: "POST", path: path))
    }

    /// Reads what a member did, newest first; a response that cannot be read in full is an error, never "nothing".
    public func activity(
        _ list: String, _ member: MemberReference, actions: [Activity.Action] = [.unsubscribed, .complained]
    ) async throws(MailchimpError) -> [Activity] {
        struct Page: Decodable { var activity: [Activity] }
        let query = [(name: "action", value: actions.map(\.rawValue).joined(separator: ","))]
        let call = Call.get("lists", list, "members", member.pathPart, "activity", query: query)
        return try await decoded(call, as: Page.self).activity
    }

    private static func validation(_ skip: Bool) -> [(name: String, value: String)] {
        skip ? [("skip_merge_validation", "true")] : []
    }
}
