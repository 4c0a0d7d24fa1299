extension MailchimpClient {
    /// How many members one bulk call takes.
    public static let maximumBulk = 500

    /// Adds up to 500 contacts that are absent; those that are in the list are refused one by one, and stay as they are.
    public func bulkCreate(
        _ list: String, _ members: [NewMember], skipMergeValidation: Bool = false
    ) async throws(MailchimpError) -> BulkResult {
        struct Body: Encodable {
            var members: [NewMember]
            var update_existing = false
        }
        return try await bulkCreate(
            list, body: Call.json(Body(members: members)), skipMergeValidation: skipMergeValidation)
    }

    /// The same, with a body that was made elsewhere: `{"members":[...],"update_existing":false}`.
    public func bulkCreate(
        _ list: String, body: [UInt8], skipMergeValidation: Bool = false
    ) async throws(MailchimpError) -> BulkResult {
        try await decoded(bulk(list, body, skipMergeValidation))
    }

    /// The same, with the answer as the JSON text that Mailchimp sent, for Postgres to take apart.
    ///
    /// The text is whole, and what `jsonb` does not store in a string is replaced.
    public func bulkCreateBytes(
        _ list: String, body: [UInt8], skipMergeValidation: Bool = false
    ) async throws(MailchimpError) -> [UInt8] {
        let answer = try await self.body(bulk(list, body, skipMergeValidation))
        guard let page = RawPage(answer, of: "new_members") else {
            throw .malformed("bulk answer", answer, sideEffects: true)
        }
        return page.bytes
    }

    private func bulk(_ list: String, _ body: [UInt8], _ skipMergeValidation: Bool) -> Call {
        var query = [(name: "skip_duplicate_check", value: "false")]
        if skipMergeValidation { query.append((name: "skip_merge_validation", value: "true")) }
        return Call(method: "POST", path: ["lists", list], query: query, body: body, maximumBody: 32 << 20)
    }
}
